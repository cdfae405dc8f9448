"""What can be bought, and for how much. Prices are in cents."""

ITEMS = {"tea": 450, "cup": 1200, "pot": 3900}


def price(name):
    return ITEMS[name]


def total(names):
    """The price of all of these together."""
    return sum(price(name) for name in names)

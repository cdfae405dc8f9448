"""What somebody is about to buy."""

from shop import catalog


class Basket:
    def __init__(self):
        self.names = []

    def add(self, name):
        catalog.price(name)
        self.names.append(name)

    def due(self):
        return catalog.total(self.names)

import unittest

from shop import app, basket, catalog


class ShopTest(unittest.TestCase):
    def test_a_basket_is_due_the_price_of_its_items(self):
        mine = basket.Basket()
        mine.add("tea")
        mine.add("cup")
        self.assertEqual(mine.due(), 1650)

    def test_an_unknown_item_is_refused(self):
        with self.assertRaises(KeyError):
            basket.Basket().add("elephant")

    def test_every_item_has_a_price(self):
        for name in catalog.ITEMS:
            self.assertGreater(catalog.price(name), 0)

    def test_the_front_page_greets(self):
        status, body = app.answer("/")
        self.assertEqual(status, 200)
        self.assertIn("greeting", body)

    def test_unknown_pages_are_not_found(self):
        self.assertEqual(app.answer("/nowhere")[0], 404)

import unittest

from shop import orders


class OrdersTest(unittest.TestCase):
    def test_find(self):
        self.assertIsNone(orders.find("9"))
        self.assertEqual(orders.find("1002")["country"], "FR")

    def test_last_change_is_the_newest(self):
        self.assertEqual(orders.last_change(orders.find("1001"))["state"], "paid")
        self.assertEqual(orders.last_change(orders.find("1002"))["at"], "11:30")
        self.assertEqual(orders.last_change(orders.find("1003"))["state"], "sent")

import unittest

from shop import orders, pricing


class PricingTest(unittest.TestCase):
    def test_small_lines_cost_the_full_price(self):
        self.assertEqual(pricing.discount_percent(1), 0)
        self.assertEqual(pricing.discount_percent(4), 0)
        self.assertEqual(pricing.line_total({"sku": "tea", "quantity": 2}), 900)

    def test_a_tier_begins_at_its_minimum(self):
        self.assertEqual(pricing.discount_percent(5), 5)
        self.assertEqual(pricing.discount_percent(9), 5)
        self.assertEqual(pricing.discount_percent(10), 10)
        self.assertEqual(pricing.discount_percent(12), 10)
        self.assertEqual(pricing.line_total({"sku": "jam", "quantity": 10}), 4680)

    def test_totals(self):
        self.assertEqual(pricing.net_total(orders.find("1001")), 1800)
        self.assertEqual(pricing.net_total(orders.find("1003")), 9960)

    def test_tax_follows_the_country(self):
        self.assertEqual(pricing.tax(orders.find("1001")), 342)
        self.assertEqual(pricing.tax({"country": "FR", "lines": [{"sku": "mug", "quantity": 1}]}), 180)
        self.assertEqual(pricing.gross_total(orders.find("1001")), 2142)

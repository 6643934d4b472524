import unittest

from shop import catalog


class CatalogTest(unittest.TestCase):
    def test_pages_hold_all_products_once(self):
        seen = []
        for number in range(1, catalog.page_count(3) + 1):
            seen += catalog.page(number)
        self.assertEqual(seen, sorted(catalog.PRODUCTS))

    def test_the_last_page_counts(self):
        self.assertEqual(catalog.page_count(3), 3)
        self.assertEqual(catalog.page_count(7), 1)
        self.assertEqual(catalog.page_count(8), 1)
        self.assertEqual(catalog.page_count(1), 7)

    def test_there_is_nothing_outside(self):
        self.assertEqual(catalog.page(0), [])
        self.assertEqual(catalog.page(4), [])

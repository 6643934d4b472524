import unittest

from shop.server import answer


class ServerTest(unittest.TestCase):
    def test_health(self):
        self.assertEqual(answer("/health"), (200, {"ok": True}))

    def test_unknown(self):
        self.assertEqual(answer("/nothing")[0], 404)
        self.assertEqual(answer("/orders/9/summary")[0], 404)

    def test_products(self):
        self.assertEqual(answer("/products?page=3")[1], {"products": ["tin"], "pages": 3})

    def test_summary(self):
        status, body = answer("/orders/1003/summary")
        self.assertEqual(status, 200)
        self.assertEqual((body["net"], body["gross"]), (9960, 11852))
        self.assertEqual((body["state"], body["since"]), ("sent", "18:40"))

//! Small programs with one bug each.

use selfheal_tests::Project;

pub(crate) const TEST_COMMAND: &str = "python3 -m unittest -q";

const CART: &str = "\
def total(prices, discount_from):
    amount = sum(prices)
    if amount > discount_from:
        amount = amount - amount // 10
    return amount


def cheapest(prices):
    best = prices[0]
    for price in prices:
        if price < best:
            best = price
    return best
";

const TESTS: &str = "\
import unittest
from cart import cheapest, total


class CartTest(unittest.TestCase):
    def test_below(self):
        self.assertEqual(total([10, 20], 100), 30)
        self.assertEqual(total([99], 100), 99)

    def test_the_limit_counts(self):
        self.assertEqual(total([100], 100), 90)
        self.assertEqual(total([60, 40], 100), 90)

    def test_above(self):
        self.assertEqual(total([200], 100), 180)

    def test_cheapest(self):
        self.assertEqual(cheapest([3, 1, 2]), 1)


if __name__ == '__main__':
    unittest.main()
";

/// `>` where `>=` should be.
pub(crate) fn cart() -> Project {
    Project::new(&[
        ("cart.py", CART),
        ("test_cart.py", TESTS),
        (".gitignore", "__pycache__/\n"),
        ("notes.txt", "one\n"),
    ])
}

/// The text of the cart after the right fix.
pub(crate) fn healed_cart() -> String {
    CART.replace("amount > discount_from", "amount >= discount_from")
}

/// A function nobody wrote, which no general template can invent.
pub(crate) fn hopeless() -> Project {
    Project::new(&[
        (
            "roman.py",
            "def to_roman(number):\n    raise NotImplementedError\n",
        ),
        (
            "test_roman.py",
            "import unittest\nfrom roman import to_roman\n\n\nclass RomanTest(unittest.TestCase):\n    def test_roman(self):\n        self.assertEqual(to_roman(1994), 'MCMXCIV')\n        self.assertEqual(to_roman(2023), 'MMXXIII')\n        self.assertEqual(to_roman(4), 'IV')\n",
        ),
    ])
}

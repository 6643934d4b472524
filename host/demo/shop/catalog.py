"""Products, and how they are paged."""

PRODUCTS = {
    "tea": {"name": "Green tea", "cents": 450},
    "mug": {"name": "Mug", "cents": 900},
    "pot": {"name": "Teapot", "cents": 2400},
    "tin": {"name": "Tea tin", "cents": 700},
    "jam": {"name": "Plum jam", "cents": 520},
    "nut": {"name": "Walnuts", "cents": 610},
    "fig": {"name": "Dried figs", "cents": 580},
}


def price(sku):
    """Price of one piece in cents."""
    return PRODUCTS[sku]["cents"]


def page_count(size):
    """How many pages of `size` products there are."""
    return (len(PRODUCTS) + size - 1) // size


def page(number, size=3):
    """Page `number` (from 1) of the product list."""
    if number < 1 or number > page_count(size):
        return []
    skus = sorted(PRODUCTS)
    start = (number - 1) * size
    return skus[start:start + size]

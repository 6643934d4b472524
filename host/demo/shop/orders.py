"""Orders, as the till wrote them."""

ORDERS = {
    "1001": {
        "country": "DE",
        "lines": [{"sku": "tea", "quantity": 2}, {"sku": "mug", "quantity": 1}],
        "history": [{"state": "placed", "at": "09:12"}, {"state": "paid", "at": "09:14"}],
    },
    "1002": {
        "country": "FR",
        "lines": [{"sku": "jam", "quantity": 10}],
        "history": [{"state": "placed", "at": "11:30"}],
    },
    "1003": {
        "country": "DE",
        "lines": [{"sku": "pot", "quantity": 1}, {"sku": "tin", "quantity": 12}],
        "history": [
            {"state": "placed", "at": "16:05"},
            {"state": "paid", "at": "16:06"},
            {"state": "sent", "at": "18:40"},
        ],
    },
}


def find(number):
    """The order, or None."""
    return ORDERS.get(number)


def last_change(order):
    """The newest entry of the order's history."""
    history = order["history"]
    return history[len(history) - 1]

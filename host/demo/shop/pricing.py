"""What an order costs. All amounts are cents."""

from shop import catalog

# At least this many pieces of one product: this discount in percent.
TIERS = [(5, 5), (10, 10)]
VAT = {"DE": 19, "FR": 20}


def discount_percent(quantity):
    """Discount on a line of `quantity` pieces."""
    percent = 0
    for minimum, discount in TIERS:
        if quantity >= minimum:
            percent = discount
    return percent


def line_total(line):
    """Price of one line after its discount."""
    full = catalog.price(line["sku"]) * line["quantity"]
    return full - full * discount_percent(line["quantity"]) // 100


def net_total(order):
    """Sum of all lines."""
    return sum(line_total(line) for line in order["lines"])


def tax(order):
    """Value-added tax of the order's country."""
    return net_total(order) * VAT[order["country"]] // 100


def gross_total(order):
    """What the customer pays."""
    return net_total(order) + tax(order)

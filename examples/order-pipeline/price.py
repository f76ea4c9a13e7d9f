PRICES = {"book": 30, "lamp": 45, "pen": 2}


def main(order):
    total = 0
    for item in order["items"]:
        if item["product"] not in PRICES:
            raise LookupError(f"no product {item['product']!r}")
        total += PRICES[item["product"]] * item["count"]
    return total

class CardDeclined(Exception):
    pass


def main(order):
    if order["card"].endswith("0000"):
        raise CardDeclined(f"the bank declines {order['total']}")
    return f"payment-{order['id']}"

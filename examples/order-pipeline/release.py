def main(order):
    print(f"order {order['id']}: released")
    return order["id"]

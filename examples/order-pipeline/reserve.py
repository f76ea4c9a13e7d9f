def main(order):
    print(f"order {order['id']}: reserved")
    return [item["product"] for item in order["items"]]

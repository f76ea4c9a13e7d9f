import os
import tempfile


class CarrierBusy(Exception):
    pass


def main(order):
    """A snail is busy the first time that it is asked."""
    asked = os.path.join(tempfile.gettempdir(), f"asked-for-{order['id']}")
    if order.get("carrier") == "snail" and not os.path.exists(asked):
        open(asked, "w").close()
        raise CarrierBusy("ask again later")
    return f"parcel-{order['id']}"

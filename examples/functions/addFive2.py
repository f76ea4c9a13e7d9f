# Another version: kubectl func update -f addFive -p examples/functions/addFive2.py
def main(params):
    return {"x": params["x"] + 6}

# kubectl func add -f addFive -p examples/functions/addFive.py
# kubectl trigger addFive -d '{"x": 100}'
def main(params):
    return {"x": params["x"] + 5}

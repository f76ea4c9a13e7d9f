# kubectl trigger func -d '{"name": "Ada", "a": 1, "b": 2}'
def main(params):
    a, b = params["a"], params["b"]
    return {"sentence": f"{params['name']} says that {a} and {b} make {a + b}."}

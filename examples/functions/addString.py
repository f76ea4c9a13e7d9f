# kubectl trigger addString -d '{"x": "mini", "y": "k8s"}'
def main(params):
    return {"ans": params["x"] + params["y"]}

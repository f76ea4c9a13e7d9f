def main(params):
    print("Not equals")
    return "Not equals"

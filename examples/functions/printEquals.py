# What it prints is in the log of its instance: kubectl func logs printEquals
def main(params):
    print("Equals")
    return "Equals"

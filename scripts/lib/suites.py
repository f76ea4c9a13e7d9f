#!/usr/bin/env python3
"""Runs the suites that `cargo test --no-run --message-format json` names on its input, two beside each other: they wait much."""

import concurrent.futures
import json
import os
import subprocess
import sys
import time


def suites(messages):
    """(name, program, folder of its package) of each, those that start whole clusters first: they take longest."""
    found = []
    for line in messages:
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
            folder = os.path.dirname(message["manifest_path"])
            package, target = os.path.basename(folder), message["target"]
            found.append((f"{package} {target['kind'][0]} {target['name']}", message["executable"], folder))
    return sorted(found, key=lambda suite: not suite[0].startswith("tests "))


def run(suite):
    name, program, folder = suite
    start = time.monotonic()
    environment = os.environ | {"CARGO_MANIFEST_DIR": folder}
    ended = subprocess.run(
        program, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return name, ended.returncode, ended.stdout.decode(errors="replace"), time.monotonic() - start


failed = []
with concurrent.futures.ThreadPoolExecutor(2) as beside:
    runs = [beside.submit(run, suite) for suite in suites(sys.stdin)]
    for ended in concurrent.futures.as_completed(runs):
        name, code, printed, seconds = ended.result()
        print(f"-- {name}: {seconds:.0f} s\n{printed}", flush=True)
        if code:
            failed.append(name)
if not runs or failed:
    sys.exit(f"failed: {', '.join(sorted(failed)) or 'there is no suite'}")
print(f"{len(runs)} suites passed")

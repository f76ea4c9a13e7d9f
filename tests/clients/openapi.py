"""Has schemathesis make requests of an API server's own OpenAPI, for SECONDS: PYTHON openapi.py KUBECONFIG SECONDS. The server is
one that nobody needs: all that it has is written to and deleted."""

import base64
import os
import pathlib
import subprocess
import sys
import tempfile

import requests
import yaml

kubeconfig, seconds = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2]
cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
folder = pathlib.Path(tempfile.mkdtemp())
pem = {
    "authority": [cluster["certificate-authority-data"]],
    "certificate": [user["client-certificate-data"], user["client-key-data"]],
}
for name, parts in pem.items():
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(b"\n".join(map(base64.b64decode, parts)))
authority, certificate = (str(folder / name) for name in pem)
document = requests.get(cluster["server"] + "/openapi/v2", verify=authority, cert=certificate, timeout=60)
document.raise_for_status()
(folder / "openapi.json").write_bytes(document.content)
# Watches are asked for, too.
(folder / "schemathesis.toml").write_text("[parameters]\ntimeoutSeconds = 1\n")
call = [
    os.path.join(os.path.dirname(sys.executable), "schemathesis"),
    "--config-file", folder / "schemathesis.toml",
    "run", folder / "openapi.json", "--url", cluster["server"],
    "--tls-verify", authority, "--request-cert", certificate, "--request-timeout", "30",
    "--checks", "not_a_server_error", "--phases", "fuzzing", "--continue-on-failure",
    # What others answer is theirs, and the old form of watches has none of the limits of the new one.
    "--exclude-path-regex", "/proxy|/watch/",
    "--workers", "4", "--max-examples", "5", "--max-time", seconds, "--no-color", "--warnings", "off",
]  # fmt: skip
sys.exit(subprocess.run(call, cwd=folder, check=False).returncode)

"""What the environment says."""

import os

MAX_BODY = 100 << 20
"""The most bytes of a call's body, and of its answer."""


class Settings:
    def __init__(self, environ=os.environ):
        self.directory = environ.get("MINIK8S_FUNCTION_DIR", "/function")
        self.packages = environ.get("MINIK8S_PACKAGES_DIR", "/packages")
        self.entry_point = environ.get("MINIK8S_ENTRY_POINT", "")
        self.timeout = float(environ.get("MINIK8S_TIMEOUT_SECONDS") or 60)
        self.concurrency = int(environ.get("MINIK8S_CONCURRENCY") or 20)
        self.warm = environ.get("MINIK8S_WARM") == "1"
        self.load_token = environ.pop("MINIK8S_LOAD_TOKEN", "")
        self.termination_log = environ.get("MINIK8S_TERMINATION_LOG", "/dev/termination-log")
        host, _, port = environ.get("MINIK8S_LISTEN", "0.0.0.0:8080").rpartition(":")
        self.address = (host, int(port))
        self.environment = {}
        """What a load adds to the function's environment."""

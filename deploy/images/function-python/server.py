"""Starts the runtime; all of it is in function_runtime/, which Python keeps compiled."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from function_runtime import supervisor  # noqa: E402 (its folder is known only now)

del sys.path[0]  # what is there is no module of the function's
sys.exit(supervisor.main())

"""Those who wait for a worker get it in the order in which they came."""

import sys
import threading
from time import monotonic, sleep
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])

from function_runtime.workers import BUSY_SECONDS, Workers

workers = Workers(None, SimpleNamespace(concurrency=1))
workers.grow = lambda: None
order = []


def wait(name):
    worker = workers.acquire(monotonic() + 20)
    order.append(name)
    workers.release(worker)


waiting = [threading.Thread(target=wait, args=(name,)) for name in ("first", "second")]
for thread in waiting:
    thread.start()
    sleep(BUSY_SECONDS / 2)
# Each looks by itself from time to time: the first has just done so, and the second is next.
sleep(BUSY_SECONDS / 4)
with workers.changed:
    workers.idle.append(SimpleNamespace(since=0))
for thread in waiting:
    thread.join()
print(*order)

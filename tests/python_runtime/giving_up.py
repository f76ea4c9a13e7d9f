"""A call that is given up: it is not begun once its client has gone; one that has begun has ended when its connection closes."""

import socket
import sys
import threading
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])

from function_runtime import frames, supervisor
from function_runtime.connection import Connection
from function_runtime.server import Server
from function_runtime.workers import Worker

control, supervisors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener = socket.create_server(("127.0.0.1", 0))
server = Server(SimpleNamespace(timeout=30, warm=False, concurrency=1), control)
server.loaded = True
server.workers.grow = lambda: None


def worker():
    sock, its = socket.socketpair()
    worker = Worker(sock)
    worker.pid = 7
    worker.log = SimpleNamespace(begin=lambda call: None, finish=lambda: None)
    server.workers.started += 1
    server.workers.release(worker)
    return its


def call():
    client = socket.create_connection(listener.getsockname())
    client.settimeout(20)
    client.sendall(b"POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n\r\n{}")
    return client


def serve():
    connection = Connection(server, listener.accept()[0])
    server.connections.add(connection)
    threading.Thread(target=connection.run, daemon=True).start()


# Its client has gone before it got its turn.
its = worker()
client = call()
client.shutdown(socket.SHUT_WR)
serve()
assert client.recv(1) == b"", "an answer that nobody wants"
its.setblocking(False)
try:
    raise AssertionError(its.recv(64))
except BlockingIOError:
    pass
assert len(server.workers.idle) == 1, "the place is free"

# It goes while the call is worked on.
its.setblocking(True)
client = call()
serve()
frames.receive(its)
client.shutdown(socket.SHUT_WR)
assert supervisors.recv(64) == supervisor.KILL + b"7"
client.settimeout(0.3)
try:
    raise AssertionError(client.recv(1))
except TimeoutError:
    pass
its.close()
client.settimeout(20)
assert client.recv(1) == b""

# What a process has left behind writes without end.
left = SimpleNamespace(settimeout=lambda _: None, recv=lambda _: b"x")
waiting = threading.Thread(target=Worker(left).wait_for_end, daemon=True)
waiting.start()
waiting.join(10)
assert not waiting.is_alive(), "its end is waited for for ever"
print("ok")

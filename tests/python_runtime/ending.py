"""A request is there on an idle connection when the server ends that: it is answered nevertheless."""

import socket
import sys
import threading
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])

from function_runtime import frames
from function_runtime.connection import Connection
from function_runtime.server import Server
from function_runtime.worker import DONE
from function_runtime.workers import Worker


def answer(sock):
    frames.receive(sock)
    given_up.wait(0.3)
    frames.send(sock, DONE, b"42")


listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
worker_sock, its = socket.socketpair()
worker = Worker(worker_sock)
worker.log = SimpleNamespace(begin=lambda call: None, finish=lambda: None)
server = Server(SimpleNamespace(timeout=30, warm=False, concurrency=1), None)
server.loaded = True
given_up = threading.Event()
server.workers = SimpleNamespace(
    acquire=lambda deadline, may_refuse: worker,
    release=lambda worker: None,
    discard=lambda worker: given_up.set(),
)
connection = Connection(server, listener.accept()[0])
server.connections.add(connection)
client.sendall(b"POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n\r\n{}")
connection.end_if_idle()
# The connection has come as far as to wait for a request.
server.may_wait = lambda connection: not connection.answered
threading.Thread(target=answer, args=(its,), daemon=True).start()
connection.run()
sys.stdout.write(client.makefile().read())

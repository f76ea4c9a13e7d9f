"""One connection of a client: its requests, one after the other."""

import os
import socket
from time import monotonic

from . import http
from .settings import MAX_BODY
from .worker import DONE
from .workers import Busy, Failed, GivenUp, Gone, TimedOut, is_gone

LOAD_PATH = "/_minik8s/load"
LONGEST_ID = 128
JSON = ("Content-Type", "application/json")
REPEATABLE = "x-minik8s-repeatable"
"""In a call that its caller can send once more, to another instance."""
NOT_STARTED = ("X-Minik8s-Not-Started", "busy")
"""In the answer to one that has not begun."""


class Connection:
    def __init__(self, server, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server = server
        self.sock = sock
        self.reader = sock.makefile("rb")
        self.idle = True
        self.read_ended = False
        """By this side: that the client has ended its own can no longer be told."""
        self.keep_alive = True
        self.answered = False
        """Whether at least the head of the answer is under way."""

    def run(self):
        try:
            while self.keep_alive and self.server.may_wait(self):
                self.serve_one()
        except http.Refused as refused:
            self.keep_alive = False
            self.send_error(refused.status, refused.kind, str(refused))
        except (OSError, GivenUp):
            pass  # the client is gone, or too slow
        finally:
            self.reader.close()
            self.sock.close()
            self.server.ended(self)

    def end_if_idle(self):
        """What has arrived already is still read."""
        if self.idle:
            self.read_ended = True
            self.sock.shutdown(socket.SHUT_RD)

    def serve_one(self):
        begun = self.reader.peek(1)
        self.server.begins(self)
        self.answered = False
        request = http.read_request(self.reader) if begun else None
        if request is None:
            self.keep_alive = False
            return
        self.keep_alive = request.keep_alive
        self.sock.settimeout(self.server.settings.timeout)
        if request.expects_continue():
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.answer(request, http.read_body(self.reader, request, MAX_BODY))
        self.sock.settimeout(None)

    def answer(self, request, body):
        if request.path == "/readyz" and request.method == "GET":
            self.send_probe()
        elif request.method != "POST":
            message = "a function is called with POST"
            self.send_error(405, "MethodNotAllowed", message, ("Allow", "POST"))
        elif request.path == LOAD_PATH and self.server.settings.warm:
            self.load(request, body)
        elif not self.server.loaded:
            self.send_error(503, "NotReady", "the function is not loaded yet")
        else:
            self.call(identity(request), body, REPEATABLE in request.headers)

    def send_probe(self):
        ready = self.server.is_ready()
        text = b"ok\n" if ready else b"not ready\n"
        self.send(200 if ready else 503, len(text), [text], ("Content-Type", "text/plain"))

    def call(self, call_id, body, repeatable):
        workers, seconds = self.server.workers, self.server.settings.timeout
        deadline = monotonic() + seconds
        named = ("X-Request-Id", call_id)
        try:
            worker = workers.acquire(deadline, repeatable)
            client = None if self.read_ended else self.sock
            if client and is_gone(client):
                workers.release(worker)
                raise GivenUp()
            # A call that is given up ends with its process: only then is there room for another one.
            try:
                kind, length, pieces = worker.call(call_id, body, deadline, client)
                self.send(200 if kind == DONE else 500, length, pieces, JSON, named)
            except BaseException:
                workers.discard(worker)
                raise
            workers.release(worker)
        except Busy:
            message = "the instance has as many calls as it may have"
            self.send_error(503, "Busy", message, named, NOT_STARTED)
        except TimedOut:
            self.send_error(504, "Timeout", f"the call took longer than {seconds:g} s", named)
        except Gone:
            self.send_error(500, "WorkerExited", "the process of the call ended", named)
        except Failed as failure:
            self.send_json(500, {"error": failure.error}, named)

    def load(self, request, body):
        import hmac
        import json

        from .source import Source

        given = request.headers.get("authorization", "").encode("latin-1")
        token = f"Bearer {self.server.settings.load_token}".encode()
        if not hmac.compare_digest(given, token):
            return self.send_error(401, "Unauthorized", "the token of the load is needed")
        try:
            source = Source(json.loads(body))
        except (ValueError, TypeError, AttributeError) as error:
            return self.send_error(400, "BadRequest", str(error))
        if not self.server.may_load():
            return self.send_error(409, "Conflict", "a function is loaded already")
        try:
            source.apply(self.server.settings)
            self.server.load()
        except Failed as failure:
            self.send_json(422, {"error": failure.error})
            self.server.give_up(failure)
        self.send_json(200, {})

    def send_error(self, status, kind, message, *headers):
        self.send_json(status, {"error": {"type": kind, "message": message}}, *headers)

    def send_json(self, status, value, *headers):
        import json

        text = json.dumps(value).encode()
        self.send(status, len(text), [text], JSON, *headers)

    def send(self, status, length, pieces, *headers):
        """Takes all pieces, even if the client is gone: who makes them waits for that."""
        if self.answered:
            self.keep_alive = False  # half of another answer is under way
            return
        self.answered = True
        self.keep_alive = self.keep_alive and not self.server.draining
        if not self.keep_alive:
            headers += (("Connection", "close"),)
        head, gone = http.head(status, length, headers), False
        for piece in pieces:
            try:
                if not gone:
                    self.sock.sendall(head + piece)
            except OSError:
                gone, self.keep_alive = True, False
            head = b""


def identity(request):
    """The caller's name for the call, or one made for it; what it may hold is what a log line and a header may."""
    given = request.headers.get("x-request-id", "")
    if given and len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return os.urandom(8).hex()

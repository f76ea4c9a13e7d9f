"""The process that speaks HTTP: it reads calls, has workers answer them, and ends in order."""

import os
import signal
import socket
import sys
import threading
from time import monotonic, sleep

from .connection import Connection
from .workers import Failed, Workers

LINGER_SECONDS = 0.5
"""So long after it was told to end the server still takes calls: those that were under way to it by then."""



class Server:
    def __init__(self, settings, control):
        self.settings = settings
        self.workers = Workers(control, settings)
        self.loaded = False
        self.load_begun = not settings.warm
        self.draining = False
        self.changed = threading.Condition()
        self.connections = set()
        self.closing = False
        """No connection waits for further requests."""

    def run(self, first):
        """Until it is told to end; `first` is the worker that was started along with the server."""
        ends = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        listener = socket.create_server(self.settings.address, backlog=1024)
        say("listening on %s:%d" % listener.getsockname()[:2])
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        if first:
            threading.Thread(target=self.start, args=(first,), daemon=True).start()
        signal.sigwait(ends)
        self.drain(listener)

    def start(self, first):
        try:
            self.load(first)
        except Failed as failure:
            self.give_up(failure)

    def load(self, first=None):
        begun = monotonic()
        self.workers.load_first(first)
        self.loaded = True
        say(f"loaded the function in {(monotonic() - begun) * 1000:.0f} ms")

    def may_load(self):
        """Whether a warm instance may be told what to be: once."""
        with self.changed:
            begun, self.load_begun = self.load_begun, True
            return not begun

    def give_up(self, failure):
        """Without its function an instance is of no use: it says why and ends, and may be started anew."""
        text = str(failure)
        sys.stderr.write(text)
        sys.stderr.flush()
        try:
            # The file is there already where it is read.
            with open(os.open(self.settings.termination_log, os.O_WRONLY | os.O_TRUNC), "w") as log:
                log.write(text[-4096:])
        except OSError:
            pass
        os._exit(1)

    def is_ready(self):
        """A warm instance is ready to be loaded."""
        return (self.loaded or self.settings.warm) and not self.draining

    def drain(self, listener):
        self.draining = True
        sleep(LINGER_SECONDS)
        listener.close()
        with self.changed:
            self.closing = True
            for connection in self.connections:
                connection.end_if_idle()
            self.changed.wait_for(lambda: not self.connections)

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # it was closed
            connection = Connection(self, sock)
            with self.changed:
                self.connections.add(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    def may_wait(self, connection):
        """Whether a connection may wait for another request; nothing ends before one that has come is answered."""
        with self.changed:
            connection.idle = not self.closing
            return connection.idle

    def begins(self, connection):
        """It has a request, or ends. The connection is not ended as an idle one while this is said."""
        with self.changed:
            connection.idle = False

    def ended(self, connection):
        with self.changed:
            self.connections.remove(connection)
            self.changed.notify()


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

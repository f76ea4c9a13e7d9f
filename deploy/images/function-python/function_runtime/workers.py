"""The workers as the server sees them: as many as there are calls in hand, up to a limit, and at least one."""

import socket
import threading
from time import monotonic

from . import frames, supervisor
from .output import Logs

SPARE_SECONDS = 60
"""So long a worker beyond the first is kept without calls."""
LOAD_SECONDS = 60
"""So long a source may take to load, if calls may not take longer."""
BUSY_SECONDS = 0.2
"""So long a call that its caller can send elsewhere waits for its turn. It is longer than the way there and back, so that those who
come again and again get their share."""
END_SECONDS = 1
"""So long the end of a process that was killed is waited for."""


class Failed(Exception):
    """No worker could load the function: the error as JSON, and as text."""

    def __init__(self, error, text):
        super().__init__(text)
        self.error = error


class TimedOut(Exception):
    pass


class Gone(Exception):
    """The worker ended in the middle of a call."""


class Busy(Exception):
    """There are as many calls in hand as there may be: this one has not begun."""


class GivenUp(Exception):
    """The client has closed its connection in the middle of a call: nobody wants its answer."""


class Workers:
    def __init__(self, control, settings):
        self.control = control
        self.settings = settings
        self.logs = Logs()
        self.changed = threading.Condition()
        self.idle = []
        """The one that was used last comes last."""
        self.started = 0
        """Those that are loading and those that have."""
        self.loading = 0
        self.waiting = []
        """Those who wait for a worker, each of which gets one in its turn."""
        self.failure = None

    def load_first(self, sock=None):
        """Raises what keeps the function from being loaded."""
        worker = self.load(sock)
        with self.changed:
            self.started += 1
        self.release(worker)

    def acquire(self, deadline, may_refuse=False):
        turn, refused_at = object(), monotonic() + BUSY_SECONDS
        with self.changed:
            self.waiting.append(turn)
            try:
                self.grow()
                while not self.idle or self.waiting[0] is not turn:
                    if self.failure and not self.started:
                        raise self.failure
                    now = monotonic()
                    if now >= deadline:
                        raise TimedOut()
                    if may_refuse and now >= refused_at and not self.loading:
                        raise Busy()
                    self.changed.wait(min(deadline - now, BUSY_SECONDS))
                return self.idle.pop()
            finally:
                self.waiting.remove(turn)
                self.changed.notify_all()

    def release(self, worker):
        with self.changed:
            worker.since = monotonic()
            self.idle.append(worker)
            if len(self.idle) > 1 and worker.since - self.idle[0].since > SPARE_SECONDS:
                self.idle.pop(0).stop()
                self.started -= 1
            self.changed.notify_all()

    def discard(self, worker):
        """Kills it, whatever it is doing. If it was the only one, another is started at once."""
        self.kill(worker)
        with self.changed:
            self.started -= 1
            self.grow()

    def grow(self):
        wanted = max(len(self.waiting) - len(self.idle), 1 if self.started == 0 else 0)
        while self.loading < wanted and self.started < self.settings.concurrency:
            self.failure = None
            self.loading += 1
            self.started += 1
            threading.Thread(target=self.add, daemon=True).start()

    def add(self):
        worker = failure = None
        try:
            worker = self.load()
        except Failed as error:
            failure = error
        with self.changed:
            self.loading -= 1
            if failure:
                self.started -= 1
                self.failure = failure
                self.changed.notify_all()
        if worker:
            self.release(worker)

    def load(self, sock=None):
        """Starts a worker, if it was not started with the server, and waits until it has loaded the function."""
        if sock is None:
            sock, its = socket.socketpair()
            socket.send_fds(self.control, [supervisor.START], [its.fileno()])
            its.close()
        worker = Worker(sock)
        seconds = max(self.settings.timeout, LOAD_SECONDS)
        sock.settimeout(seconds)
        try:
            frames.send(sock, self.configuration())
            worker.log = self.logs.add(frames.receive_descriptor(sock))
            worker.pid = int(frames.receive(sock))
            said = frames.receive(sock)
        except TimeoutError:
            self.kill(worker)
            raise failed("Timeout", f"loading the function took longer than {seconds:g} s") from None
        except (frames.Closed, OSError):
            worker.stop()
            raise failed("WorkerExited", "the process ended while it loaded the function") from None
        finally:
            if worker.log:
                worker.log.finish()
        if said:
            import json

            worker.stop()
            said = json.loads(said)
            raise Failed(said["error"], said["text"])
        return worker

    def kill(self, worker):
        """Until its process has ended, if it is known which that is."""
        self.control.send(supervisor.KILL + str(worker.pid or 0).encode())
        if worker.pid:
            worker.wait_for_end()
        worker.stop()

    def configuration(self):
        import json

        s = self.settings
        names = ("directory", "packages", "entry_point", "environment")
        return json.dumps({name: getattr(s, name) for name in names}).encode()


class Worker:
    def __init__(self, sock):
        self.sock = sock
        self.pid = None
        self.log = None
        self.since = 0

    def call(self, call_id, body, deadline, client):
        """What came of it, the length of its bytes, and the bytes as they come. It is given up with the connection
        `client`, if there is one."""
        self.log.begin(call_id)
        try:
            self.wait_no_longer_than(deadline)
            frames.send(self.sock, body)
            self.wait_for_answer(client, deadline)
            kind = frames.receive(self.sock)
            length = frames.length(self.sock)
        except TimeoutError:
            raise TimedOut() from None
        except (frames.Closed, OSError):
            raise Gone() from None
        finally:
            self.log.finish()
        return kind, length, self.pieces(length, deadline)

    def pieces(self, length, deadline):
        try:
            for piece in frames.pieces(self.sock, length):
                yield piece
                self.wait_no_longer_than(deadline)
        except TimeoutError:
            raise TimedOut() from None
        except (frames.Closed, OSError):
            raise Gone() from None

    def wait_for_answer(self, client, deadline):
        import select

        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if client:
            poll.register(client, select.POLLRDHUP)
        ready = {source for source, _ in poll.poll(max(deadline - monotonic(), 0.001) * 1000)}
        if not ready:
            raise TimedOut()
        if self.sock.fileno() not in ready:
            raise GivenUp()

    def wait_no_longer_than(self, deadline):
        self.sock.settimeout(max(deadline - monotonic(), 0.001))

    def wait_for_end(self):
        """Its end of the socket closes with the process, unless another one has it, which may go on writing."""
        end = monotonic() + END_SECONDS
        try:
            while monotonic() < end:
                self.wait_no_longer_than(end)
                if not self.sock.recv(64 << 10):
                    return
        except OSError:
            pass  # or it takes too long

    def stop(self):
        """It ends by itself once it waits for a call that cannot come."""
        self.sock.close()


def is_gone(client):
    """Whether a client has closed its connection, or its half of it."""
    import select

    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def failed(kind, message):
    return Failed({"type": kind, "message": message}, message + "\n")

"""What workers, and the processes that they start, print: in the pod's log, each line with its call's id before it.

The server copies it, and not the worker, so that it is there too if the worker is killed.
"""

import os
import select
import sys
import threading

LONGEST = 8 << 10
"""Longer lines are cut."""
PIPE = 64 << 10
"""The most that a pipe holds."""


def redirect():
    """In a worker: from here on all is written into a pipe, whose other end this gives. Of one pipe for both, the order is kept."""
    reader, writer = os.pipe()
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
    os.close(writer)
    sys.stdout, sys.stderr = (
        open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
        for descriptor in (1, 2)
    )
    return reader


def flush():
    """In a worker: nothing that was printed is held back."""
    # The function may have closed them, or put what is no file in their place.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


class Logs:
    """In the server: those of all workers."""

    def __init__(self):
        self.poll = select.epoll()
        self.logs = {}
        threading.Thread(target=self.run, daemon=True).start()

    def add(self, pipe):
        os.set_blocking(pipe, False)
        log = self.logs[pipe] = Log(pipe)
        self.poll.register(pipe, select.EPOLLIN)
        return log

    def run(self):
        while True:
            for pipe, _ in self.poll.poll():
                if self.logs[pipe].copy():
                    continue
                self.poll.unregister(pipe)
                self.logs.pop(pipe).close()


class Log:
    """What the processes of one worker print. What comes between calls belongs to the one before."""

    writing = threading.Lock()
    """Lines of several workers do not mix."""

    def __init__(self, pipe):
        self.pipe = pipe
        self.call = "-"
        self.begun = b""
        self.lock = threading.Lock()

    def begin(self, call):
        self.finish()
        self.call = call

    def finish(self):
        """All that was printed until now is in the log."""
        with self.lock:
            if self.pipe is not None:
                self.read()
            self.end_line()

    def copy(self):
        """Whether more can come."""
        with self.lock:
            return self.read()

    def close(self):
        with self.lock:
            self.end_line()
            os.close(self.pipe)
            self.pipe = None

    def read(self):
        try:
            data = os.read(self.pipe, PIPE)
        except BlockingIOError:
            return True
        *lines, self.begun = (self.begun + data).split(b"\n")
        self.write(lines)
        if len(self.begun) > LONGEST:
            self.end_line()
        return bool(data)

    def end_line(self):
        """Ends a line that was not ended."""
        if self.begun:
            line, self.begun = self.begun, b""
            self.write([line])

    def write(self, lines):
        prefix = f"[{self.call}] ".encode()
        cut = (line[at : at + LONGEST] for line in lines for at in range(0, len(line) or 1, LONGEST))
        with self.writing:
            write_all(1, b"".join(prefix + line + b"\n" for line in cut))


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]

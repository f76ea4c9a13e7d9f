"""The function's standard output and errors, with the call's id before each line."""

import io
import os
import sys

LONGEST = 8 << 10
"""Longer lines are cut, so that the lines of several workers do not mix."""


class Log:
    call = "-"


class Lines(io.RawIOBase):
    def __init__(self, descriptor, log):
        self.descriptor = descriptor
        self.log = log
        self.begun = bytearray()

    def writable(self):
        return True

    def fileno(self):
        return self.descriptor

    def write(self, data):
        data = bytes(data)
        self.begun += data
        if b"\n" in data or len(self.begun) > LONGEST:
            *lines, rest = bytes(self.begun).split(b"\n")
            self.begun = bytearray(rest)
            for line in lines:
                self.emit(line)
            if len(rest) > LONGEST:
                self.finish()
        return len(data)

    def emit(self, line):
        prefix = f"[{self.log.call}] ".encode()
        for start in range(0, len(line) or 1, LONGEST):
            write_all(self.descriptor, prefix + line[start : start + LONGEST] + b"\n")

    def finish(self):
        """Ends a line that the call has not ended."""
        if self.begun:
            line, self.begun = bytes(self.begun), bytearray()
            self.emit(line)


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data) :]


def redirect():
    """From here on; the id is what the log that comes back says."""
    log = Log()
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            Lines(descriptor, log), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        for descriptor in (1, 2)
    )
    return log


def flush():
    for stream in (sys.stdout, sys.stderr):
        # The function may have put others in their place.
        lines = getattr(stream, "buffer", None)
        if isinstance(lines, Lines):
            stream.flush()
            lines.finish()

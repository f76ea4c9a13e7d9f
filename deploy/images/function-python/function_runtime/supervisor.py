"""The first process: starts the server, starts and kills workers as the server tells it, and reaps them all."""

import os
import signal
import socket
import sys

from .settings import Settings

START = b"+"
"""Followed by nothing; the worker's end of its socket comes along."""
KILL = b"-"
"""Followed by the process id in decimal."""


def main():
    settings = Settings()
    control, servers_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The first worker loads the function while the server is still starting.
    first, workers_first = (None, None) if settings.warm else socket.socketpair()
    server = os.fork()
    if server == 0:
        control.close()
        if workers_first:
            workers_first.close()
        run(lambda: serve(settings, servers_control, first))
    servers_control.close()
    if first:
        first.close()
    return Supervisor(control, server).run(workers_first)


def serve(settings, control, first):
    from .server import Server

    return Server(settings, control).run(first)


def run(body):
    """All that a forked process does."""
    status = 1
    try:
        status = body() or 0
    finally:
        sys.stderr.flush()
        os._exit(status)


class Supervisor:
    def __init__(self, control, server):
        self.control = control
        self.server = server
        self.workers = set()

    def run(self, first):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os.kill(self.server, number))
        woken = self.wake_on_exits()
        if first:
            self.start(first)
        import select

        poll = select.poll()
        for source in (self.control, woken):
            poll.register(source, select.POLLIN)
        while True:
            for source, _ in poll.poll():
                if source == self.control.fileno():
                    self.obey()
            drain(woken)
            status = self.reap()
            if status is not None:
                for worker in self.workers:
                    kill_group(worker)
                return status

    def wake_on_exits(self):
        """A socket that can be read whenever a signal has come."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        self.waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return woken

    def obey(self):
        message, descriptors, _, _ = socket.recv_fds(self.control, 64, 1)
        if message[:1] == START:
            self.start(socket.socket(fileno=descriptors[0]))
        elif message[:1] == KILL and int(message[1:]) in self.workers:
            kill_group(int(message[1:]))

    def start(self, sock):
        # Here once, so that every worker has it.
        from . import worker

        pid = os.fork()
        if pid == 0:
            self.control.close()
            self.forget_signals()
            run(lambda: worker.work(sock))
        sock.close()
        # A group of its own, so that what the function starts ends with it; set by both, since either may be first.
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass  # it is gone already
        self.workers.add(pid)

    def forget_signals(self):
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)

    def reap(self):
        """The server's exit status once it has ended. Processes that lost their parent are left to the first one, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            if pid == self.server:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid in self.workers:
                self.workers.remove(pid)
                kill_group(pid)


def kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def drain(woken):
    try:
        while woken.recv(512):
            pass
    except BlockingIOError:
        pass

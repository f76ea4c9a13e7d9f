"""Messages over a stream socket: each with its length before it."""

import os
import socket
import struct

LENGTH = struct.Struct("!Q")
PIECE = 256 << 10


class Closed(Exception):
    """The other side is gone."""


def send(sock, *messages):
    for message in messages:
        if len(message) <= PIECE:
            sock.sendall(LENGTH.pack(len(message)) + message)
        else:
            sock.sendall(LENGTH.pack(len(message)))
            sock.sendall(message)


def receive(sock):
    return b"".join(pieces(sock, length(sock)))


def length(sock):
    return LENGTH.unpack(exactly(sock, LENGTH.size))[0]


def exactly(sock, size):
    return b"".join(pieces(sock, size))


def pieces(sock, size):
    """The next bytes as they come."""
    while size > 0:
        piece = sock.recv(min(size, PIECE))
        if not piece:
            raise Closed()
        size -= len(piece)
        yield piece


def send_descriptor(sock, descriptor):
    """Gives it away."""
    socket.send_fds(sock, [b"."], [descriptor])
    os.close(descriptor)


def receive_descriptor(sock):
    _, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    if not descriptors:
        raise Closed()
    return descriptors[0]

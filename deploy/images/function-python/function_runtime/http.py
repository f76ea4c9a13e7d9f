"""HTTP/1.1 as far as a server of functions needs it. The standard library's takes longer to import than all the rest."""

LONGEST_LINE = 16 << 10
MOST_HEADERS = 200

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Refused(Exception):
    """What came cannot be answered otherwise, and what follows it cannot be read."""

    def __init__(self, status, kind, message):
        super().__init__(message)
        self.status, self.kind = status, kind


class Request:
    def __init__(self, method, path, version, headers):
        self.method, self.path, self.headers = method, path.partition("?")[0], headers
        wish = headers.get("connection", "").lower()
        self.keep_alive = "close" not in wish and (version == "HTTP/1.1" or "keep-alive" in wish)

    def expects_continue(self):
        return self.headers.get("expect", "").lower() == "100-continue"


def read_request(reader):
    """The next request without its body; none if the client is gone."""
    start = read_line(reader)
    while start == b"":
        start = read_line(reader)
    if start is None:
        return None
    parts = start.decode("latin-1").split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(400, "BadRequest", "not a request of HTTP/1.1")
    return Request(*parts, read_headers(reader))


def read_headers(reader):
    headers = {}
    for _ in range(MOST_HEADERS):
        line = read_line(reader)
        if not line:
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise Refused(400, "BadRequest", "a header has no name")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise Refused(431, "BadRequest", f"more than {MOST_HEADERS} headers")


def read_line(reader):
    """Without its end; none where the stream ends."""
    line = reader.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise Refused(431, "BadRequest", f"a line is longer than {LONGEST_LINE} bytes")
    if not line.endswith(b"\n"):
        return None
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]


def read_body(reader, request, limit):
    encoding = request.headers.get("transfer-encoding")
    declared = request.headers.get("content-length")
    if encoding is None:
        return read_exactly(reader, number(declared or "0", 10), limit)
    if encoding.lower() != "chunked" or declared is not None:
        raise Refused(400, "BadRequest", "the length of the body is not clear")
    body = bytearray()
    while True:
        size = number((read_line(reader) or b"").decode("latin-1").partition(";")[0].strip(), 16)
        body += read_exactly(reader, size, limit - len(body))
        if size == 0:
            read_headers(reader)
            return bytes(body)
        if read_line(reader) != b"":
            raise Refused(400, "BadRequest", "a chunk does not end where it says")


def number(text, base):
    digits = "0123456789" if base == 10 else "0123456789abcdefABCDEF"
    if not text or text.strip(digits):
        raise Refused(400, "BadRequest", f"{text!r} is no length")
    return int(text, base)


def read_exactly(reader, size, limit):
    if size > limit:
        raise Refused(413, "RequestTooLarge", "the body is too large")
    body = reader.read(size)
    if len(body) < size:
        raise ConnectionError("the client is gone")
    return body


def head(status, length, headers):
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

"""Handlers of `http.server` that read the head of a request with little CPU: not as the head of an e-mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any

from nilometer.local.front.head import HEAD_BYTES, BadHead, parse

_REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 25\r\nconnection: close\r\n\r\n"
    b'{"message":"Bad Request"}'
)


class Headers:
    """Header lines in their order; a name is found in any case, the first line of it."""

    def __init__(self, lines: Sequence[tuple[bytes, bytes]]) -> None:
        self._lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]
        self._first = dict(reversed(self._lines))

    def items(self) -> Iterator[tuple[str, str]]:
        """All lines, names in lower case."""
        return iter(self._lines)

    def get(self, name: str, default: Any = None) -> Any:
        """The value, as text."""
        return self._first.get(name.lower(), default)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._first


class QuickHandler(BaseHTTPRequestHandler):
    """Requests whose length is not clear are refused, and end the connection."""

    headers: Any
    raw_requestline: bytes

    def parse_request(self) -> bool:
        """Takes the rest of the head, whose first line has been read; False when it was answered here."""
        self.close_connection = True
        self.command, self.requestline, self.request_version = "", "", "HTTP/1.1"
        try:
            head = parse(self._head())
        except BadHead:
            self.wfile.write(_REFUSED)
            return False
        self.command, self.path = head.method, head.target.decode("latin-1")
        self.headers = Headers(head.headers)
        self.close_connection = not head.keeps_alive
        if head.expects and head.length:
            self.handle_expect_100()
            self.wfile.flush()
        return True

    def _head(self) -> bytes:
        lines = [self.raw_requestline]
        size = len(self.raw_requestline)
        while (line := self.rfile.readline(HEAD_BYTES + 1)) not in (b"\r\n", b"\n", b""):
            lines.append(line)
            size += len(line)
            if size > HEAD_BYTES:
                raise BadHead("too large")
        return b"\r\n".join(one.rstrip(b"\r\n") for one in lines)

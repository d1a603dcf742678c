"""The head of an HTTP/1.1 request: read in one go, and refused when two readers could see two requests in it.

Source: RFC 9112, "HTTP/1.1", sections 3, 5 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HEAD_BYTES = 64 * 1024
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\xff]+) HTTP/1\.([01])\Z")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(rb"[^\x00\r\n]*\Z")
CHUNKED = -1


class BadHead(ValueError):
    """Not a request, or one whose length is not clear. The connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Head:
    """`headers` in the order in which they came, names in lower case. `length` is that of the body, or `CHUNKED`."""

    method: str
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    length: int
    keeps_alive: bool
    expects: bool


def parse(content: bytes) -> Head:
    """The request line and the header lines, without the empty line at their end. `BadHead` for what is none."""
    first, *lines = content.split(b"\r\n")
    request = _REQUEST.match(first)
    if not request:
        raise BadHead("no request line")
    headers = [_header(line) for line in lines]
    length, keeps_alive, expects = None, request[3] == b"1", False
    for name, value in headers:
        match name:
            case b"content-length":
                length = _length(value, length)
            case b"transfer-encoding":
                if value.lower() != b"chunked" or length is not None:
                    raise BadHead("a body of unclear length")
                length = CHUNKED
            case b"connection":
                options = value.lower()
                keeps_alive = b"close" not in options and (keeps_alive or b"keep-alive" in options)
            case b"expect":
                expects = value.lower() == b"100-continue"
    return Head(request[1].decode(), request[2], headers, length or 0, keeps_alive, expects)


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not _NAME.match(name) or not _VALUE.match(value):
        raise BadHead("no header line")
    return name.lower(), value


def _length(value: bytes, before: int | None) -> int:
    """Named twice, both must say the same."""
    if not value.isdigit() or len(value) > 15 or before not in (None, int(value)):
        raise BadHead("a body of unclear length")
    return int(value)

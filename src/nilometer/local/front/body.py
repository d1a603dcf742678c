"""Takes the body of a request out of what has arrived."""

from __future__ import annotations

from nilometer.local.front.head import CHUNKED, BadHead

_LINE_BYTES = 4096  # of a chunk's size with its extensions, and of a trailer


class RequestBody:
    """Of `length` bytes, or in chunks (`CHUNKED`)."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._chunks: list[bytes] = []
        self._in_trailers = False

    def take(self, arrived: bytearray) -> bytes | None:
        """Removes from `arrived` what belongs to the body: the body, or None while a part is missing."""
        if self._length == CHUNKED:
            return self._take_chunks(arrived)
        if len(arrived) < self._length:
            return None
        body = bytes(arrived[: self._length])
        del arrived[: self._length]
        return body

    def _take_chunks(self, arrived: bytearray) -> bytes | None:
        while True:
            end = arrived.find(b"\r\n")
            if end < 0 or end > _LINE_BYTES:
                if len(arrived) > _LINE_BYTES:
                    raise BadHead("no chunk")
                return None
            if self._in_trailers:
                del arrived[: end + 2]
                if not end:
                    return b"".join(self._chunks)
                continue
            size = _size(bytes(arrived[:end]))
            if size and len(arrived) < end + 2 + size + 2:
                return None
            self._take_chunk(arrived, end + 2, size)

    def _take_chunk(self, arrived: bytearray, begin: int, size: int) -> None:
        self._in_trailers = not size
        if size:
            if arrived[begin + size : begin + size + 2] != b"\r\n":
                raise BadHead("no chunk")
            self._chunks.append(bytes(arrived[begin : begin + size]))
        del arrived[: begin + size + 2 * bool(size)]


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or not all(digit in b"0123456789abcdefABCDEF" for digit in digits) or len(digits) > 12:
        raise BadHead("no chunk")
    return int(digits, 16)

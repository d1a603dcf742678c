"""A compressed text whose segments can be replaced one by one, and which is read whole as one zlib stream.

Each segment ends where a full flush leaves a byte's boundary and an empty window (zlib's manual, `Z_FULL_FLUSH`), so
the bytes of two of them may stand in any order; the checksum of the whole is made of theirs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

_RAW = zlib.compressobj(5, zlib.DEFLATED, -14, 6)
HEADER = zlib.compressobj(6, zlib.DEFLATED, 14, 6).flush(zlib.Z_FULL_FLUSH)
"""Begins the stream, and none of `compressed`: those name a dictionary."""
_LAST = b"\x03\x00"  # an empty block of fixed codes that says it is the last (RFC 1951, 3.2)
_BASE = 65521  # RFC 1950, 9


class Segment(NamedTuple):
    """Compressed `content` of a text of so many bytes with that Adler-32."""

    content: bytes
    length: int
    checksum: int


def segment(text: bytes) -> Segment:
    """Compresses one segment."""
    compressor = _RAW.copy()
    return Segment(compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH), len(text), zlib.adler32(text))


def joined(segments: Sequence[Segment]) -> bytes:
    """The stream of all. `unpack` reads the texts one after the other."""
    checksum = reduce(_combined, segments, Segment(b"", 0, 1)).checksum
    return b"".join((HEADER, *(one.content for one in segments), _LAST, checksum.to_bytes(4)))


def _combined(left: Segment, right: Segment) -> Segment:
    """Adler-32 of two texts, one after the other: its low half adds up the bytes, its high half those sums."""
    low, high = left.checksum & 0xFFFF, left.checksum >> 16
    low_right, high_right = right.checksum & 0xFFFF, right.checksum >> 16
    both = (high + high_right + (low - 1) * right.length) % _BASE << 16 | (low + low_right - 1) % _BASE
    return Segment(b"", left.length + right.length, both)

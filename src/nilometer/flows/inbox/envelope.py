"""The EventBridge envelope around everything that the billing, usage and operations queues deliver, and the CloudEvent
in it that usage and operations expect. JSON is decoded only when it nests no deeper than a process can stand.

Source: https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec

from nilometer.errors import Rejected

T = TypeVar("T")
_decoder: Callable[[Any], Any] = cache(msgspec.json.Decoder)

DEPTH = 100
"""Levels of arrays and objects, for each of which a decoder calls itself. Stripe's events have about 12."""

_OTHERS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_SQUARE = bytes.maketrans(b"{}", b"[]")  # which of the two it is says a decoder
_CONTROLS = bytes(range(32))  # between tokens they say nothing, and in a text they must not stand
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)

CHANGES = "nilometer.changes"
"""The source of what the relay of the streams puts on the bus."""
RECORD_CHANGED = "record.changed.v1"
"""The detail type of a change of a record."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """`id` and `time` are the bus's own: a resend has others. `detail` stays JSON bytes until its owner decodes it."""

    id: str
    detail_type: str
    source: str
    time: str
    detail: msgspec.Raw


class CloudEventWire(msgspec.Struct, kw_only=True):
    """A CloudEvent as it travels. Extension attributes are allowed, as the specification says."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: msgspec.Raw
    subject: str | None = None


def decode(body: str | bytes) -> Envelope:
    """The envelope of one SQS body; `Rejected("invalid_schema")` when it is not one, `too_large` when it nests deep."""
    check_depth(body if isinstance(body, bytes) else body.encode(errors="replace"))
    return read(body, Envelope, "not an EventBridge envelope; publish through the bus, not to the queue")


def read(content: str | bytes | msgspec.Raw, wire: type[T], otherwise: str) -> T:
    """JSON as `wire`; `Rejected("invalid_schema")` with `otherwise` and what is wrong, also for what nests too deep."""
    try:
        found: T = _decoder(wire).decode(content)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Rejected("invalid_schema", f"{otherwise}: {error}") from error
    except RecursionError as error:
        raise Rejected("invalid_schema", f"{otherwise}: it nests too deep") from error
    return found


def check_depth(content: bytes) -> None:
    """`Rejected("too_large")` for JSON that nests deeper than `DEPTH`; costs microseconds for what does not."""
    if content.count(b"[") + content.count(b"{") > DEPTH and not _is_flat(content) and _is_deeper(content, DEPTH):
        raise Rejected("too_large", f"it nests deeper than {DEPTH} levels")


def deep_as_text(content: bytes, level: int) -> bytes:
    """JSON in which each array or object that begins at `level` and nests too deep is the text of itself.

    So that what holds many can refuse one of them. What is no JSON stays none.
    """
    parts, depth, start, done = [], 0, 0, 0
    for token in _TOKEN.finditer(content):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                start = token.start() if depth == level else start
            case b"]" | b"}":
                depth -= 1
                if depth == level - 1 and _is_deeper(content[start : token.end()], DEPTH - level + 1):
                    parts += [content[done:start], _quoted(content[start : token.end()])]
                    done = token.end()
    return b"".join([*parts, content[done:]])


def _quoted(content: bytes) -> bytes:
    return b'"' + content.translate(None, _CONTROLS).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _is_flat(content: bytes) -> bool:
    """Whether taking away what is empty, level by level, leaves nothing. False when texts hold brackets too."""
    brackets = content.translate(_SQUARE, _OTHERS)
    if b"[" * (DEPTH + 1) in brackets:
        return False
    for _ in range(DEPTH):
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) in {0, len(brackets)}:
            return not fewer
        brackets = fewer
    return False


def _is_deeper(content: bytes, levels: int) -> bool:
    depth = 0
    for token in _TOKEN.finditer(content):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth > levels:
                    return True
            case b"]" | b"}":
                depth -= 1
    return False

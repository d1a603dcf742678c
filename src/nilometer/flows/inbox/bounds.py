"""How deep a message may nest: a decoder calls itself for each level, and the stack is the process's."""

from __future__ import annotations

import re

from nilometer.errors import Rejected

DEPTH = 100
"""Levels of arrays and objects. Stripe's events have about 12, and a DynamoDB item takes 32."""

_OTHERS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)


def check_depth(content: bytes) -> None:
    """`Rejected("too_large")` for JSON that nests deeper than `DEPTH`; costs microseconds for what does not."""
    if content.count(b"[") + content.count(b"{") > DEPTH and not _is_flat(content) and _depth(content) > DEPTH:
        raise Rejected("too_large", f"it nests deeper than {DEPTH} levels")


def _is_flat(content: bytes) -> bool:
    """Whether taking away what is empty, level by level, leaves nothing. False when texts hold brackets too."""
    brackets = content.translate(None, _OTHERS)
    for _ in range(DEPTH):
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) in {0, len(brackets)}:
            return not fewer
        brackets = fewer
    return False


def _depth(content: bytes) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(content):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                deepest = max(deepest, depth)
            case b"]" | b"}":
                depth -= 1
    return deepest

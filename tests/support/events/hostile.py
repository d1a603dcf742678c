"""Values that no sender means, and the way to put each into every field of a sample.

The values are JSON texts, because much of what arrives cannot be written by an encoder: `1e999999`, half of a surrogate
pair, a key twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import check_depth

Path = tuple[str | int, ...]

_MARK = "\u2042 here \u2042"


def _text(value: str) -> str:
    return json.dumps(value)


def _nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


WRONG_TYPES: Mapping[str, str] = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "one": "1",
    "minus one": "-1",
    "float": "1.5",
    "minus zero": "-0.0",
    "text": '"x"',
    "empty text": '""',
    "empty list": "[]",
    "list of null": "[null]",
    "list of lists": "[[[]]]",
    "list of texts": '["a", "b"]',
    "empty object": "{}",
    "object": '{"a": 1}',
    "object of object": '{"a": {"b": {"c": null}}}',
    "number as text": '"7"',
    "true as text": '"true"',
    "null as text": '"null"',
}
"""What a newer version of a sender may write in the place of what we know."""

NUMBERS: Mapping[str, str] = {
    "2^31": "2147483648",
    "2^53+1": "9007199254740993",
    "2^63-1": "9223372036854775807",
    "2^63": "9223372036854775808",
    "2^64": "18446744073709551616",
    "minus 2^63": "-9223372036854775808",
    "39 digits": "1" * 39,
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5_000,
    "huge exponent": "1e999999",
    "minus huge exponent": "-1e999999",
    "tiny exponent": "1e-999999",
    "beyond a float": "1e400",
    "float of an integer": "1.0",
    "exponent of an integer": "1e5",
    "15 and 9 digits": "123456789012345.123456789",
    "30 fraction digits": "0." + "3" * 30,
    "far future": "99999999999",
    "beyond the calendar": "9" * 18,
    "before all time": "-99999999999",
}

TEXTS: Mapping[str, str] = {
    "space": '" "',
    "padded": '" x "',
    "new lines": r'"a\r\nb\tc"',
    "nul": r'"a\u0000b"',
    "high surrogate": r'"\ud800"',
    "low surrogate": r'"a\udfffb"',
    "emoji": r'"\ud83d\ude00"',
    "byte order mark": r'"\ufeffx"',
    "no character": r'"\uffff"',
    "right to left": r'"\u202egnp.exe"',
    "terminal title": r'"\u001b]0;title\u0007\u001b[2J"',
    "combining": _text("z" + "\u0301" * 300),
    "ligature": _text("maße ﬁ Ⅷ"),
    "separator": '"a#b"',
    "escaped separator": '"a%23b%"',
    "only separators": _text("#" * 200),
    "path": '"../../etc/passwd"',
    "markup": '"<script>alert(1)</script>[red]"',
    "sql": '"\'; drop table usage; --"',
    "format": '"{0.__class__} %s %n"',
    "address": '"ada@example.com"',
    "prototype": '"__proto__"',
    "url": '"https://example.com/?a=b"',
    "exponent as text": '"1e5000"',
    "huge exponent as text": '"1e999999"',
    "not a number": '"NaN"',
    "infinity": '"-Infinity"',
    "hexadecimal": '"0x10"',
    "number and letter": '"2x"',
    "digits of Arabic": '"١٢٣"',
    "400 digits as text": _text("9" * 400),
    "date alone": '"2026-11-23"',
    "naive time": '"2026-11-23T00:00:00"',
    "February 30th": '"2026-02-30T00:00:00Z"',
    "last instant": '"9999-12-31T23:59:59Z"',
    "before the first instant": '"0001-01-01T00:00:00+23:59"',
    "leap second": '"2026-11-23T23:59:60Z"',
    "256 bytes": _text("x" * 256),
    "257 bytes": _text("x" * 257),
    "256 characters": _text("é" * 256),
    "2000 bytes": _text("x" * 2_000),
    "3000 bytes": _text("x" * 3_000),
    "2000 words": _text("a " * 2_000),
}

SHAPES: Mapping[str, str] = {
    "nested 100": _nested(100),
    "nested 900": _nested(900),
    "nested 3000": _nested(3_000),
    "nested objects": '{"a":' * 3_000 + "1" + "}" * 3_000,
    "nested in text": _text(_nested(3_000)),
    "a key twice": '{"id": "a", "id": "b", "id": 3}',
    "an empty key": '{"": {"": ""}}',
    "hostile keys": r'{"__proto__": 1, "$gt": "", "a.b": 2, "\ud800": 3, "\u0000": 4}',
    "attribute value": '{"S": "x", "N": "1"}',
    "1000 numbers": json.dumps(list(range(1_000))),
    "1000 keys": json.dumps({f"key{n}": n for n in range(1_000)}),
    "1000 objects": json.dumps([{"id": str(n)} for n in range(1_000)]),
    "long key": json.dumps({"k" * 3_000: 1}),
}

LARGE: Mapping[str, str] = {
    "100 KB": _text("x" * 100_000),
    "450 KB": _text("é" * 225_000),
    "100000 numbers": "[" + "7," * 99_999 + "7]",
    "nested 100000": _nested(100_000),
}
"""Slow to try: for a part of the fields."""

HOSTILE: Mapping[str, str] = {**WRONG_TYPES, **NUMBERS, **TEXTS, **SHAPES}


def _is_encoded(value: str) -> bool:
    """Whether an encoder can write it: the relay's own does. Else the message is no JSON, and is refused as a whole."""
    try:
        check_depth(b"[[[[" + value.encode() + b"]]]]")
        msgspec.json.decode(value)
    except (Rejected, msgspec.DecodeError):
        return False
    return True


ENCODED = [name for name, value in HOSTILE.items() if _is_encoded(value)]
"""Names of those that an encoder writes."""

NO_JSON: Sequence[str] = (
    "",
    " ",
    "nonsense",
    "{",
    "}",
    '{"detail":',
    '{"detail":{"id":"e1","type":',
    "[]",
    "[[]]",
    "null",
    "7",
    '"text"',
    "NaN",
    "{'a': 1}",
    '{"a": 1,}',
    '{"a": 01}',
    "\ufeff{}",
    "\x00\x01\x02",
    "\ud800",
    '{"a":"\ud83d"}',
    "ÿþ",
    "<?xml version='1.0'?>",
    "[" * 100_000,
    '{"a":' * 100_000,
    "9" * 100_000,
    "1e999999",
    "x" * 450_000,
)
"""Bodies that are no JSON object."""


def fields(sample: Any, before: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value: of each member, each element, and the value itself."""
    yield before
    children = sample.items() if isinstance(sample, dict) else enumerate(sample) if isinstance(sample, list) else ()
    for name, value in children:
        yield from fields(value, (*before, name))


def placed(sample: Any, path: Path, value: str) -> str:
    """The JSON text of `sample` with `value`, a JSON text, at `path`."""
    if not path:
        return value
    place = sample
    for name in path[:-1]:
        place = place[name]
    before, place[path[-1]] = place[path[-1]], _MARK
    try:
        return json.dumps(sample).replace(json.dumps(_MARK), value)
    finally:
        place[path[-1]] = before


def named(path: Path) -> str:
    """`data.items[0]`, to say where."""
    return ".".join(map(str, path)) or "the whole"

"""`PATH=VALUE`: fields of an event's object that `trigger --set` sets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from nilometer.local.stripe.shapes import Object

_FORM = "write PATH=VALUE, such as metadata.plan=gold or items.data.0.quantity=5"


def assign(event: Object, assignments: Iterable[str]) -> None:
    """Sets fields of the event's `data.object`, one after the other.

    The path has dots between names, and indexes in lists; what it names is created, at a list's end too. The value is
    JSON if it can be read as JSON, else text. `ValueError` for another form, and for a path through what holds no
    fields.
    """
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not all(names := path.split(".")):
            raise ValueError(f"{assignment!r} sets nothing; {_FORM}")
        _put(event["data"]["object"], names, _value(value))


def _put(inside: Any, names: list[str], value: Any) -> None:
    for passed, (name, below) in enumerate(pairwise(names), start=1):
        key = _key(inside, name, names[: passed - 1])
        if key == _end(inside) or (isinstance(inside, dict) and inside.get(name) is None):
            _fill(inside, key, [] if below == "0" else {})
        inside = inside[key]
    _fill(inside, _key(inside, names[-1], names[:-1]), value)


def _key(inside: Any, name: str, passed: list[str]) -> Any:
    """Of a field or an element, one behind the end of a list at most."""
    if isinstance(inside, dict):
        return name
    place = ".".join(passed)
    if not isinstance(inside, list):
        raise ValueError(f"{place} is no object and no list, so it has no {name!r}")  # noqa: TRY004  # wrong input
    if not (name.isascii() and name.isdigit() and int(name) <= len(inside)):
        raise ValueError(f"{place} is a list of {len(inside)}, so {name!r} is no place in it")
    return int(name)


def _end(inside: Any) -> int | None:
    return len(inside) if isinstance(inside, list) else None


def _fill(inside: Any, key: Any, value: Any) -> None:
    if key == _end(inside):
        inside.append(value)
    else:
        inside[key] = value


def _value(text: str) -> Any:
    """What JSON does not know (NaN, Infinity) is text."""
    try:
        return json.loads(text, parse_constant=_unknown)
    except ValueError:
        return text


def _unknown(name: str) -> Any:
    raise ValueError(name)

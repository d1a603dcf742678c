"""Who a message is from, read before anything in it is checked: a reject must be found by its id."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import msgspec

from nilometer.domain.events.reject import bounded
from nilometer.domain.store.times import parse_rfc3339
from nilometer.errors import Rejected

_SEARCHED = 4_000  # characters of an event that is no JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What of an event could be read; texts of bounded length, `None` for what is missing or is no text."""

    event_id: str | None = None
    source: str | None = None
    type: str | None = None
    workspace_id: str | None = None

    @property
    def known(self) -> dict[str, str]:
        """The fields that could be read, as a log line names them."""
        values = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in values if value}


class _Loose(msgspec.Struct):
    """Whatever the values are: each is read by itself."""

    id: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()
    subject: msgspec.Raw = msgspec.Raw()
    time: msgspec.Raw = msgspec.Raw()
    detail: msgspec.Raw = msgspec.Raw()


_loose = msgspec.json.Decoder(_Loose)


def identity_of(body: str) -> Identity:
    """Of the event in the bus's envelope, or of the event when it has none. Never raises."""
    outer = _read(body)
    if outer is None:
        return Identity(event_id=_searched(body))
    inner = _read(outer.detail) or outer
    return Identity(
        event_id=_text(inner.id),
        source=_text(inner.source) or _text(outer.source),
        type=_text(inner.type),
        workspace_id=_text(inner.subject),
    )


def arrived_at(body: str, *, sent_at: datetime | None, now: datetime) -> datetime:
    """When the bus took the message: the envelope's time, which a producer may have written, or when the queue took
    it, whichever is earlier; never after `now`."""
    outer = _read(body)
    try:
        times = [parse_rfc3339(_text(outer.time) or "")] if outer else []
    except Rejected:
        times = []
    return min([now, *times, *([sent_at] if sent_at else [])])


def overdue(since: datetime, patience: timedelta, *, now: datetime) -> bool:
    """Whether `patience` is over. By a difference, for a sum with a hostile date may leave the calendar."""
    return now - since >= patience


def _read(body: str | bytes | msgspec.Raw) -> _Loose | None:
    try:
        return _loose.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _text(raw: msgspec.Raw) -> str | None:
    try:
        value = msgspec.json.decode(raw, type=str)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return bounded(value) or None


def _searched(body: str) -> str | None:
    """Of what is no JSON, or nested too deep to be read: the first text that looks like the event's id."""
    start = max(body.find('"detail":'), 0)
    found = re.search(r'"id"\s*:\s*"([^"\\\x00-\x1f]{1,256})"', body[start : start + _SEARCHED])
    return bounded(found[1]) if found else None

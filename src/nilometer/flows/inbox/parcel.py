"""One message until its outcome: its workspace, its opened content, and what of it was refused.

Whose it is, is read before anything in it is checked: a reject must be found by its id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

import msgspec

from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject, bounded
from nilometer.domain.store.times import parse_rfc3339
from nilometer.errors import NotKnownYet, Refused, Rejected, Unavailable

UNREADABLE = "unreadable"
"""The reason of what no rule foresaw: the message alone makes the flow fail, each time that it came."""
_SEARCHED = 4_000  # characters of an event that is no JSON


class Identity(NamedTuple):
    """What of an event could be read; texts of bounded length, `None` for what is missing or is no text."""

    event_id: str | None = None
    source: str | None = None
    type: str | None = None
    workspace_id: str | None = None

    @property
    def known(self) -> dict[str, str]:
        """The fields that could be read, as a log line names them."""
        return {name: value for name, value in self._asdict().items() if value}


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


Refusal = tuple[Rejected, str, Identity]
"""Why something was refused, its payload, and whose it is."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Parcel(Generic[T]):
    """`content` is what `open` made of the message. A consumer gives it an outcome only when that is stored.

    `fields` are safe to log: ids, types, reasons, counts.
    """

    message: Message
    opened: T | None = None
    outcome: Outcome | None = None
    again: bool = False
    fields: dict[str, str | int] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    """The message, or events in it."""

    @property
    def content(self) -> T:
        """What `open` made of the message. Asked for only once that has happened."""
        assert self.opened is not None  # noqa: S101  # what could not be opened is settled and in no group
        return self.opened

    def settle(self, outcome: Outcome, **fields: str | int) -> None:
        """Its outcome is stored, or it must come again."""
        self.outcome = outcome
        self.fields |= fields

    def fail(self, error: BaseException) -> None:
        """It is delivered again."""
        self.settle(Outcome.FAILED, error=safe_text(error))

    def wait(self, reason: str, error: str) -> None:
        """It stays in its queue until what it needs is known, or its time is over; `error` says what it waits for."""
        self.settle(Outcome.WAITING, reason=reason, error=error)
        self.again = True

    def refuse(self, error: Exception) -> None:
        """Wrong for good, with all that is in it: kept before the batch is answered."""
        identity, refused = identity_of(self.message.body), as_rejected(error)
        self.refused.append((refused, self.message.body, identity))
        self.settle(Outcome.REJECTED, **{**identity.known, **self.fields, "reason": bounded(refused.reason)})

    def rejects(self, flow: str) -> list[Reject]:
        """What must be kept before the message may go."""
        return [as_reject(flow, *one) for one in self.refused]

    def result(self) -> Result:
        """Of one who was never given an outcome: FAILED."""
        if self.outcome is None:
            self.settle(Outcome.FAILED, error="not settled in time")
        assert self.outcome is not None  # noqa: S101  # mypy does not follow `settle`
        return Result(message_id=self.message.id, outcome=self.outcome, fields=self.fields, again=self.again)


def safe_text(error: BaseException) -> str:
    """What a log may say of it: our own text about the world, and of any other error its name alone."""
    return str(error) if isinstance(error, Unavailable) else type(error).__name__


def as_reject(flow: str, error: Rejected, payload: str, identity: Identity) -> Reject:
    """What is kept of it."""
    return Reject(
        flow=flow,
        reason=error.reason,
        message=str(error),
        payload=payload,
        event_id=identity.event_id,
        source=identity.source,
        workspace_id=identity.workspace_id,
    )


def as_rejected(error: Exception) -> Rejected:
    """Why what alone is the reason of `error` is refused; no text of another library's error."""
    if isinstance(error, Rejected):
        return error
    if isinstance(error, NotKnownYet):
        return Rejected(error.reason, str(error))
    if isinstance(error, Refused):
        return Rejected("refused", str(error))
    name = type(error).__name__
    return Rejected(UNREADABLE, f"it alone makes the flow fail ({name}); correct it, or report the fault")

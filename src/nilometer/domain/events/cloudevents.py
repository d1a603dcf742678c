"""What every internal event must be: CloudEvents 1.0, identified by `source` + `id`.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from nilometer.domain.store.keys import part
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Rejected

SPECVERSION = "1.0"
NAME_LENGTH = 256  # of an id, a source, a subject: they are parts of keys, and a sort key holds 1 KB
FUTURE = timedelta(minutes=5)
"""How far a producer's clock may be ahead: the later event wins, so one of next year would win for a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """The context attributes. The identity is fixed before the first send; `time` is when the fact happened."""

    id: str
    source: str
    type: str
    time: datetime
    subject: str | None = None


def check_context(*, specversion: str, event_id: str, source: str, subject: str | None) -> None:
    """`Rejected` with `invalid_schema` or `too_large`."""
    if specversion != SPECVERSION:
        raise Rejected("invalid_schema", f"specversion is {specversion!r}; write '1.0'")
    if not event_id or not source:
        raise Rejected("invalid_schema", "id and source must not be empty: together they identify the fact")
    if _long(event_id) or _long(source) or (subject and _long(subject)):
        raise Rejected("too_large", f"id, source and subject have at most {NAME_LENGTH} bytes each")


def check_not_ahead(time: datetime, *, arrival: datetime) -> None:
    """`Rejected("too_far_in_future")`."""
    if time > arrival + FUTURE:
        raise Rejected(
            "too_far_in_future", f"time {rfc3339(time)} is more than 5 minutes ahead; check the producer's clock"
        )


def _long(name: str) -> bool:
    """As a part of a key: a character may have four bytes, and the separator is escaped."""
    return len(part(name).encode()) > NAME_LENGTH

"""What every internal event must be: CloudEvents 1.0, identified by `source` + `id`.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nilometer.errors import Rejected

SPECVERSION = "1.0"
NAME_LENGTH = 256  # of an id, a source, a subject: they are parts of keys, which hold 2 KB and 1 KB


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
    if len(event_id) > NAME_LENGTH or len(source) > NAME_LENGTH or (subject and len(subject) > NAME_LENGTH):
        raise Rejected("too_large", f"id, source and subject have at most {NAME_LENGTH} characters each")

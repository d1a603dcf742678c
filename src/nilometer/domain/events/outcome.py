"""What became of one message: the closed set that every flow answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Outcome(StrEnum):
    """Reported once per message, in logs and metrics. Only `FAILED` makes the queue deliver the message again."""

    ACCEPTED = "accepted"  # its fact and effect are stored
    DUPLICATE = "duplicate"  # was stored before; nothing changed
    WAITING = "waiting"  # kept until what it needs is known
    REJECTED = "rejected"  # wrong for good; kept in the reject lane with its reason
    IGNORED = "ignored"  # not meant for us; nothing to keep
    FAILED = "failed"  # not now: deliver it again


@dataclass(frozen=True, slots=True)
class Message:
    """One record of a batch: the id that the batch response names, its raw body, when the queue took it, and how often
    it was received, this time included."""

    id: str
    body: str
    sent_at: datetime | None = None
    receives: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of one message, with fields that are safe to log: ids, types, reasons; never payloads.

    `again` when it stays in its queue though it did not fail: it waits there for what it needs.
    """

    message_id: str
    outcome: Outcome
    fields: Mapping[str, str | int] = field(default_factory=dict)
    again: bool = False

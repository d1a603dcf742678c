"""What became of one message: the closed set that every flow answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    ACCEPTED = "accepted"  # its fact and effect are stored
    DUPLICATE = "duplicate"  # was stored before; nothing changed
    WAITING = "waiting"  # kept until what it needs is known
    REJECTED = "rejected"  # wrong for good; kept in the reject lane with its reason
    IGNORED = "ignored"  # not meant for us; nothing to keep
    FAILED = "failed"  # not now: deliver it again


@dataclass(frozen=True, slots=True)
class Message:
    """One record of a batch: the id that the batch response names, and its raw body."""

    id: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of one message, with fields that are safe to log: ids, types, reasons; never payloads."""

    message_id: str
    outcome: Outcome
    fields: Mapping[str, str | int] = field(default_factory=dict)

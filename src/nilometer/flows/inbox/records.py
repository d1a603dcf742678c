"""A record of a DynamoDB stream at the boundary: its name, and what becomes of one that a reader stumbles over.

A stream has no rejects of its own to wait in: a record that fails stops all that come after it in its shard. So one
fails only as long as another delivery may pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nilometer.domain.events.outcome import Outcome
from nilometer.errors import Rejected
from nilometer.flows.inbox.settle import PATIENCE, worlds_fault

StreamRecord = Mapping[str, Any]
"""As Lambda hands it over: attribute values, binary in base64."""


def record_id(record: StreamRecord) -> str:
    """Its sequence number: what a stream's batch response names. Empty for a record that has none."""
    try:
        number = record["dynamodb"]["SequenceNumber"]
    except (KeyError, TypeError):
        return ""
    return number if isinstance(number, str) else ""


def blamed(record: StreamRecord, error: Exception, *, now: datetime) -> Outcome:
    """FAILED, so that it is delivered again, when the world is to blame or our own code may be; else REJECTED."""
    again = worlds_fault(error) or (not isinstance(error, Rejected) and _may_pass_later(record, now))
    return Outcome.FAILED if again else Outcome.REJECTED


def _may_pass_later(record: StreamRecord, now: datetime) -> bool:
    """Whether what stumbled over it may be a bad version of ours: the record is young, and can be named.

    Its shard waits with it, for the same `PATIENCE` as a message waits in its queue.
    """
    try:
        written = datetime.fromtimestamp(float(record["dynamodb"]["ApproximateCreationDateTime"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return False
    return bool(record_id(record)) and now - written < PATIENCE

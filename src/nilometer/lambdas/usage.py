"""SQS batch of the usage queue → the usage flow → the partial batch response.

Called by its schedule, without records, it rejects what waited too long for its workspace.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage.known import Known
from nilometer.flows.usage.waiting import abandon
from nilometer.lambdas import batch_response, count, handling, messages, variables

_RESERVE_SECONDS = 5.0


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What is not settled when Lambda's deadline nears is delivered again."""
    known, objects = _dependencies()
    now = datetime.now(UTC)

    def remaining() -> float:
        return float(context.get_remaining_time_in_millis() / 1000)

    if "Records" not in event:
        rejected = abandon(known.store, now=now, out_of_time=lambda: remaining() < _RESERVE_SECONDS)
        count("usage", ["rejected"] * rejected)
        return {}
    results = usage.handle(
        messages(event), store=known.store, known=known, objects=objects, now=now, remaining=remaining
    )
    return batch_response("usage", results)


@cache
def _dependencies() -> tuple[Known, Objects]:
    records, events, bucket = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_BUCKET")
    return Known(Store(client("dynamodb"), records=records, events=events)), Objects(later("s3"), bucket=bucket)

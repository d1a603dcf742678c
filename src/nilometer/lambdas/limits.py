"""Stream batch of `records`, counters and what sets limits alone → the reactions → where to go on from.

Called by its schedule, without records, it sweeps reservations whose time is over.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.flows.limits.reactions import react
from nilometer.flows.limits.reserving import sweep
from nilometer.flows.usage.known import Known
from nilometer.lambdas import batch_response, count, handling, variables


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Names the first failed record alone: a stream goes on from the lowest sequence number of the answer."""
    if "Records" not in event:
        count("limits", ["expired"] * sweep(_known().store, now=datetime.now(UTC)))
        return {}
    results = react(event["Records"], known=_known(), now=datetime.now(UTC))
    return {"batchItemFailures": batch_response("limits", results)["batchItemFailures"][:1]}


@cache
def _known() -> Known:
    records, events = variables("RECORDS_TABLE", "EVENTS_TABLE")
    return Known(Store(client("dynamodb"), records=records, events=events))

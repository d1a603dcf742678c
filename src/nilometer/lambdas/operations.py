"""SQS batch of the operations queue → the operations flow, or notices for our own changes → the batch response."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.lambdas import batch_response, handling, messages, variables


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Lambda's entry: operations of services into the tables."""
    store, objects = _dependencies()
    arrived, now = messages(event), datetime.now(UTC)
    changes = [message for message in arrived if notices.is_change(message)]
    said = [message for message in arrived if message not in changes]
    results = [
        *operations.handle(said, store=store, objects=objects, now=now),
        *notices.handle(changes, store=store, objects=objects, now=now),
    ]
    return batch_response("operations", results)


@cache
def _dependencies() -> tuple[Store, Objects]:
    records, events, bucket = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_BUCKET")
    return Store(client("dynamodb"), records=records, events=events), Objects(later("s3"), bucket=bucket)

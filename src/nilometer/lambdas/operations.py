"""SQS batch of the operations queue → the operations flow, or notices for our own changes → the batch response."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.flows.notices import batch as notices
from nilometer.flows.operations import batch as operations
from nilometer.lambdas.edge import batch_response, handling, messages
from nilometer.settings import TablesSettings, load


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Lambda's entry: operations of services into the tables."""
    arrived, now = messages(event), datetime.now(UTC)
    changes = [message for message in arrived if notices.is_change(message)]
    said = [message for message in arrived if message not in changes]
    results = [
        *operations.handle(said, now=now, **_dependencies()),
        *notices.handle(changes, now=now, **_dependencies()),
    ]
    return batch_response("operations", results)


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(TablesSettings, os.environ)
    return {
        "store": Store(client("dynamodb"), records=settings.records_table, events=settings.events_table),
        "objects": Objects(later("s3"), bucket=settings.lake_bucket),
    }

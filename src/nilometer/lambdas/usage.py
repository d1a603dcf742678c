"""SQS batch of the usage queue → the usage flow → the partial batch response."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.flows import usage
from nilometer.flows.known import Known
from nilometer.lambdas.edge import batch_response, messages
from nilometer.settings import TablesSettings, load


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What is not settled when Lambda's deadline nears is delivered again."""
    results = usage.handle(
        messages(event),
        now=datetime.now(UTC),
        remaining=lambda: context.get_remaining_time_in_millis() / 1000,
        **_dependencies(),
    )
    return batch_response("usage", results)


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(TablesSettings, os.environ)
    store = Store(client("dynamodb"), records=settings.records_table, events=settings.events_table)
    return {"store": store, "known": Known(store), "objects": Objects(later("s3"), bucket=settings.lake_bucket)}

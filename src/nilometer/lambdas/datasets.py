"""SQS batch → the datasets flow → partial batch response."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.dynamodb import Store
from nilometer.aws.landing import Landing
from nilometer.aws.s3 import Objects
from nilometer.flows.lake import datasets
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lambdas import batch_response, commit_deadline, handling, messages, variables


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry: batches of services into their tables of the lake."""
    store, objects, landing, lake = _dependencies()
    results = datasets.land(
        messages(event),
        store=store,
        objects=objects,
        landing=landing,
        lake=lake,
        now=datetime.now(UTC),
        deadline=commit_deadline(context),
    )
    return batch_response("datasets", results)


@cache
def _dependencies() -> tuple[Store, Objects, Landing, Lake]:
    records, events, bucket, uri = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_BUCKET", "LAKE_URI")
    return (
        Store(client("dynamodb"), records=records, events=events),
        Objects(client("s3"), bucket=bucket),
        Landing(client("s3"), bucket=bucket),
        Lake(uri=uri, storage_options=storage_options(os.environ)),
    )

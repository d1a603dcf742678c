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
from nilometer.lambdas.edge import batch_response, commit_deadline, handling, messages
from nilometer.settings import DatasetsSettings, load


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry: batches of services into their tables of the lake."""
    deadline = commit_deadline(context)
    results = datasets.land(messages(event), **_dependencies(), now=datetime.now(UTC), deadline=deadline)
    return batch_response("datasets", results)


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(DatasetsSettings, os.environ)
    return {
        "store": Store(client("dynamodb"), records=settings.records_table, events=settings.events_table),
        "objects": Objects(client("s3"), bucket=settings.lake_bucket),
        "landing": Landing(client("s3"), bucket=settings.lake_bucket),
        "lake": Lake(uri=settings.lake_uri, storage_options=storage_options(os.environ)),
    }

"""SQS batch → the lake flow → partial batch response."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.flows.lake import append as lake
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lambdas import batch_response, commit_deadline, handling, messages, variables


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry: facts and changes into the lake."""
    tables, objects, keys = _dependencies()
    now, deadline = datetime.now(UTC), commit_deadline(context)
    results = lake.append(messages(event), lake=tables, objects=objects, keys=keys, now=now, deadline=deadline)
    return batch_response("lake", results)


@cache
def _dependencies() -> tuple[Lake, Objects, AuditKeys]:
    bucket, uri, key = variables("LAKE_BUCKET", "LAKE_URI", "AUDIT_KEY_ARN")
    objects = Objects(client("s3"), bucket=bucket)
    tables = Lake(uri=uri, storage_options=storage_options(os.environ), files=objects)
    return tables, objects, AuditKeys.stored(later("secretsmanager"), arn=key)

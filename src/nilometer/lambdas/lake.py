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
from nilometer.lambdas.edge import batch_response, commit_deadline, handling, messages
from nilometer.settings import LakeSettings, load


@handling
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry: facts and changes into the lake."""
    deadline = commit_deadline(context)
    results = lake.append(messages(event), **_dependencies(), now=datetime.now(UTC), deadline=deadline)
    return batch_response("lake", results)


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(LakeSettings, os.environ)
    return {
        "lake": Lake(uri=settings.lake_uri, storage_options=storage_options(os.environ)),
        "objects": Objects(client("s3"), bucket=settings.lake_bucket),
        "keys": AuditKeys.stored(later("secretsmanager"), arn=settings.audit_key_arn),
    }

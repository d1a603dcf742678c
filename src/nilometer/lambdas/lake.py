"""SQS batch → the lake flow → partial batch response."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client
from nilometer.aws.s3 import Objects
from nilometer.flows import lake
from nilometer.lake.append import Lake
from nilometer.lake.storage import storage_options
from nilometer.lambdas.edge import batch_response, messages
from nilometer.settings import LakeSettings, load

_RESERVE_SECONDS = 30.0  # to answer before Lambda kills: a request under way may be retried for 20


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    results = lake.append(messages(event), **_dependencies(), now=datetime.now(UTC), deadline=_deadline(context))
    return batch_response("lake", results)


def _deadline(context: Any) -> float:
    remaining: float = context.get_remaining_time_in_millis() / 1000
    return time.monotonic() + max(remaining - _RESERVE_SECONDS, 0.0)


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(LakeSettings, os.environ)
    return {
        "lake": Lake(uri=settings.lake_uri, storage_options=storage_options(os.environ)),
        "objects": Objects(client("s3"), bucket=settings.lake_bucket),
    }

"""DynamoDB stream batch → the changes flow → where to go on from."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.eventbridge import Bus
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.sqs import Queue
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE
from nilometer.flows.lake import changes
from nilometer.lambdas.edge import batch_response, handling
from nilometer.settings import ChangesSettings, load


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Names the first failed record alone: a stream goes on from the lowest sequence number of the answer.

    Source: Lambda Developer Guide, "Configuring partial batch response with DynamoDB and Lambda".
    """
    response = batch_response("changes", changes.relay(event["Records"], **_dependencies()))
    return {"batchItemFailures": response["batchItemFailures"][:1]}


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(ChangesSettings, os.environ)
    urls = {
        STRIPE_EVENTS.name: settings.lake_stripe_events_queue_url,
        USAGE.name: settings.lake_usage_queue_url,
    }
    return {
        "bus": Bus(client("events"), name=settings.bus_name),
        "queues": {table: Queue(client("sqs"), url=url) for table, url in urls.items()},
        "objects": Objects(client("s3"), bucket=settings.lake_bucket),
        "keys": AuditKeys.stored(later("secretsmanager"), arn=settings.audit_key_arn),
    }

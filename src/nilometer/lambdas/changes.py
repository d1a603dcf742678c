"""DynamoDB stream batch → the changes flow → where to go on from."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.eventbridge import Bus
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.sqs import Queue
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE
from nilometer.flows.lake import changes
from nilometer.lambdas import batch_response, handling, variables


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Names the first failed record alone: a stream goes on from the lowest sequence number of the answer.

    Source: Lambda Developer Guide, "Configuring partial batch response with DynamoDB and Lambda".
    """
    bus, queues, objects, keys, tells_all = _dependencies()
    given: dict[str, Any] = {"bus": bus, "queues": queues, "objects": objects, "keys": keys, "tells_all": tells_all}
    results = changes.relay(event["Records"], **given, now=datetime.now(UTC))
    response = batch_response("changes", results)
    return {"batchItemFailures": response["batchItemFailures"][:1]}


@cache
def _dependencies() -> tuple[Bus, dict[str, Queue], Objects, AuditKeys, bool]:
    name, bucket, key, told = variables("BUS_NAME", "LAKE_BUCKET", "AUDIT_KEY_ARN", "CHANGES_ON_BUS")
    urls = variables("LAKE_STRIPE_EVENTS_QUEUE_URL", "LAKE_USAGE_QUEUE_URL", "LAKE_AUDIT_QUEUE_URL")
    tables = (STRIPE_EVENTS, USAGE, AUDIT)
    queues = {table.name: Queue(client("sqs"), url=url) for table, url in zip(tables, urls, strict=True)}
    keys = AuditKeys.stored(later("secretsmanager"), arn=key)
    return Bus(client("events"), name=name), queues, Objects(client("s3"), bucket=bucket), keys, told != "needed"

"""SQS batch of the hooks queue → the announcements that a workspace subscribed to, signed and posted → the response."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.sqs import Queue
from nilometer.flows.notices.delivery import DeliveryMeans, handle
from nilometer.flows.notices.webhooks import WebhookMeans
from nilometer.lambdas import batch_response, handling, messages, variables


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Lambda's entry: webhooks of workspaces."""
    means, objects = _dependencies()
    return batch_response("hooks", handle(messages(event), means, objects=objects))


@cache
def _dependencies() -> tuple[DeliveryMeans, Objects]:
    records, events, bucket, queue = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_BUCKET", "QUEUE_URL")
    key, loopback = variables("WEBHOOK_KEY_ARN", "WEBHOOK_LOOPBACK")
    keys = AuditKeys.stored(client("secretsmanager"), arn=key)
    means = DeliveryMeans(
        store=Store(client("dynamodb"), records=records, events=events),
        queue=Queue(client("sqs"), url=queue),
        webhooks=WebhookMeans.of(keys, loopback=loopback == "true"),
        now=lambda: datetime.now(UTC),
    )
    return means, Objects(later("s3"), bucket=bucket)

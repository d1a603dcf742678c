"""SQS batch of the hooks queue → announcements to webhooks of workspaces, notifications to e-mail → the response."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.ses import Mailer
from nilometer.aws.sqs import Queue
from nilometer.flows.notices import batch as notices
from nilometer.flows.notices import delivery, mailing
from nilometer.flows.notices.addresses import Addresses
from nilometer.flows.notices.delivery import DeliveryMeans
from nilometer.flows.notices.mailing import MailMeans
from nilometer.flows.notices.webhooks import WebhookMeans
from nilometer.lambdas import batch_response, handling, messages, optional, variables


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Lambda's entry: webhooks of workspaces and mails to people, side by side, for both wait for others."""
    means, mail, objects = _dependencies()
    arrived = messages(event)
    changes = [message for message in arrived if notices.is_change(message)]
    said = [message for message in arrived if message not in changes]
    with ThreadPoolExecutor(1) as beside:
        mailed = beside.submit(mailing.handle, changes, mail, objects=objects)
        return batch_response("hooks", [*delivery.handle(said, means, objects=objects), *mailed.result()])


@cache
def _dependencies() -> tuple[DeliveryMeans, MailMeans, Objects]:
    records, events, bucket, queue = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_BUCKET", "QUEUE_URL")
    key, loopback = variables("WEBHOOK_KEY_ARN", "WEBHOOK_LOOPBACK")
    keys = AuditKeys.stored(client("secretsmanager"), arn=key)
    store = Store(client("dynamodb"), records=records, events=events)
    webhooks = WebhookMeans.of(keys, loopback=loopback == "true")
    means = DeliveryMeans(store=store, queue=Queue(client("sqs"), url=queue), webhooks=webhooks, now=_now)
    mail = MailMeans(
        store=store,
        addresses=Addresses(optional("EMAIL_ADDRESSES") or "", webhooks.key, webhooks.loopback),
        mails=Mailer(later("sesv2"), sender=optional("EMAIL_FROM") or ""),
        links=optional("EMAIL_LINKS") or "",
        now=_now,
    )
    return means, mail, Objects(later("s3"), bucket=bucket)


def _now() -> datetime:
    return datetime.now(UTC)

"""SQS batch of the billing queue → the billing flow → the partial batch response."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.link import Trust, trust_of
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.stripe.event import METER_ERRORS
from nilometer.flows.billing import batch as billing
from nilometer.lambdas import batch_response, handling, messages, metric, variables


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Lambda's entry: Stripe events of the queue into billing state."""
    store, objects, trust = _dependencies()
    results = billing.handle(messages(event), store=store, objects=objects, trust=trust, now=datetime.now(UTC))
    if reports := sum(one.outcome is Outcome.ACCEPTED and one.fields.get("type") in METER_ERRORS for one in results):
        metric("billing", "MeterErrorReports", reports)
    return batch_response("billing", results)


@cache
def _dependencies() -> tuple[Store, Objects, Trust]:
    records, events, bucket, scopes = variables("RECORDS_TABLE", "EVENTS_TABLE", "LAKE_BUCKET", "BILLING_SCOPES")
    store = Store(client("dynamodb"), records=records, events=events)
    return store, Objects(later("s3"), bucket=bucket), trust_of(scopes)

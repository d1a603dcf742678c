"""SQS batch of the billing queue → the billing flow → the partial batch response."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from nilometer.aws.clients import client, later
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.claim import trust_of
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.usage.meter_event import ERRORS
from nilometer.flows.billing import batch as billing
from nilometer.lambdas.edge import batch_response, handling, messages, metric
from nilometer.settings import BillingSettings, load


@handling
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Lambda's entry: Stripe events of the queue into billing state."""
    results = billing.handle(messages(event), now=datetime.now(UTC), **_dependencies())
    if reports := sum(one.outcome is Outcome.ACCEPTED and one.fields.get("type") in ERRORS for one in results):
        metric("billing", "MeterErrorReports", reports)
    return batch_response("billing", results)


@cache
def _dependencies() -> dict[str, Any]:
    settings = load(BillingSettings, os.environ)
    return {
        "store": Store(client("dynamodb"), records=settings.records_table, events=settings.events_table),
        "objects": Objects(later("s3"), bucket=settings.lake_bucket),
        "trust": trust_of(settings.billing_scopes),
    }

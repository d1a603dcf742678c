"""The way of a Stripe event: through how few files it goes."""

from __future__ import annotations

import json
from typing import Any

from tests.support.events.way import HANDLER, INBOX, files_passed, own
from tests.support.flows.operations import NOW, envelope
from tests.support.project import EVENTS

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.flows.billing import batch as billing


def test_a_stripe_event_passes_at_most_fifteen_files(store: Store, objects: Objects) -> None:
    """A new subscription, from the message to register, link, record and fact.

    Counted are the files in which a function runs, besides the foundations on which every subject stands, and three for
    the handler and the inbox. The literal number is bounded, too. What concerns other events (thin notifications,
    changes of the catalog, disputes) lies beside the way.
    """
    event = json.loads((EVENTS / "stripe/customer.subscription.created.json").read_text())
    message = Message("1", envelope(event, source="nilometer.webhook"))
    results: list[Any] = []

    passed = files_passed(lambda: results.extend(billing.handle([message], store=store, objects=objects, now=NOW)))

    assert [one.outcome for one in results] == [Outcome.ACCEPTED]
    assert len(own(passed)) + HANDLER + INBOX <= 15, passed
    assert len(passed) <= 23, passed

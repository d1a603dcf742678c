"""An endpoint at Stripe sends what we handle, no more and no less."""

from __future__ import annotations

import json

import pytest
import stripe
from tests.support.flows.billing_play import OBJECTS, PLAYED_AT

from nilometer.domain.billing.group import _VIEWS
from nilometer.domain.billing.link import CLAIMING
from nilometer.domain.billing.record.inputs import CATALOG
from nilometer.domain.stripe.event import FEATURES, StripeEvent
from nilometer.domain.stripe.handled import API_VERSION, EVENT_TYPES, HANDLED
from nilometer.flows.billing.batch import arrived
from nilometer.flows.billing.reconcile import LISTED
from nilometer.local.stripe import event_types
from nilometer.local.stripe.samples import sample

UNTOLD = {FEATURES, "balance_transaction"}  # no event of Stripe tells of them
SHOWN = {"discount"}  # compared where customers and subscriptions show it: it has no list of its own


def test_the_objects_are_those_that_decide_or_are_compared() -> None:
    """What the nightly reconcile compares but no event reports would be drift every night."""
    assert {*_VIEWS, *CLAIMING, *CATALOG, *LISTED, *SHOWN} - UNTOLD == set(HANDLED)


@pytest.mark.parametrize("event_type", sorted(event_types.EVENT_TYPES))
def test_a_type_is_declared_when_a_register_takes_its_object(event_type: str) -> None:
    """Asked of one real event of every type that Stripe sends."""
    body = {"detail-type": event_type, "source": "s", "id": "1", "time": "2026-11-01T00:00:00Z"}
    event = arrived(json.dumps({**body, "detail": sample(event_type)}), objects=OBJECTS, now=PLAYED_AT).event
    assert isinstance(event, StripeEvent)

    taken = event.object_type in HANDLED and event.object_id is not None

    assert (event_type in EVENT_TYPES) is taken
    assert event_type in HANDLED.get(event.object_type, ()) or not taken


def test_every_declared_type_exists() -> None:
    """Stripe refuses an endpoint with a type that it does not know."""
    assert set(EVENT_TYPES) <= event_types.EVENT_TYPES


def test_the_sdk_reads_the_same_version() -> None:
    """What it fetches and what the endpoint sends have one shape."""
    assert stripe.api_version == API_VERSION

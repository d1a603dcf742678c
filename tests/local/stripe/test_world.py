"""The simulated Stripe keeps Stripe's own promises."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from nilometer.local.stripe.event_types import EVENT_TYPES
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.samples import sample
from nilometer.local.stripe.world import StripeWorld

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_the_same_seed_is_the_same_month() -> None:
    """Nothing depends on a clock or on hash order."""
    assert random_month(7, customers=3).events == random_month(7, customers=3).events


def test_events_of_one_action_share_a_second() -> None:
    """Signing up is five and more events that `created` cannot order."""
    world = StripeWorld(NOW)
    world.subscribe(world.customer("ws"), [(world.price(world.product("Reed"), 1900), 2)])

    assert len({event["created"] for event in world.events}) == 1
    assert [e["type"] for e in world.events if "subscription" in e["type"]] == [
        "customer.subscription.created",
        "customer.subscription.updated",
    ]


@pytest.mark.parametrize("seed", range(5))
def test_every_type_is_one_of_stripes(seed: int) -> None:
    """A month contains no invented type."""
    assert {event["type"] for event in random_month(seed).events} <= EVENT_TYPES


@pytest.mark.parametrize("seed", range(5))
def test_previous_attributes_lead_back_to_the_snapshot_before(seed: int) -> None:
    """Overlaying them on a snapshot gives the state before the event; the last snapshot is the truth."""
    world, last = random_month(seed), {}
    for event in world.events:
        snapshot = event["data"]["object"]
        if "previous_attributes" in event["data"] and snapshot["id"] in last:
            before = last[snapshot["id"]]
            overlaid = overlay(snapshot, event["data"]["previous_attributes"])
            assert {k: overlaid[k] for k in ("id", "status", "items") if k in overlaid} == {
                k: before[k] for k in ("id", "status", "items") if k in before
            }
        if "id" in snapshot:
            last[snapshot["id"]] = snapshot

    subscriptions = {id_: o for id_, o in world.objects.items() if o["object"] == "subscription"}
    assert {id_: last[id_] for id_ in subscriptions} == subscriptions


def overlay(snapshot: Any, previous: Any) -> Any:
    result = copy.deepcopy(snapshot)
    for name, old in previous.items():
        both = isinstance(old, dict) and isinstance(result.get(name), dict)
        result[name] = overlay(result[name], old) if both else old
    return result


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_a_sample_of_every_type(event_type: str) -> None:
    """Each is an event of its type, created now, for the same customer every time."""
    event = sample(event_type, "ws_1", NOW)

    assert (event["type"], event["created"]) == (event_type, int(NOW.timestamp()))
    assert event == sample(event_type, "ws_1", NOW)


def test_samples_of_a_workspace_concern_one_customer() -> None:
    """Triggering several types builds up one customer with one subscription."""
    later = NOW.replace(day=20, hour=3)
    updated = sample("customer.subscription.updated", "ws_1", NOW)["data"]["object"]
    deleted = sample("customer.subscription.deleted", "ws_1", later)["data"]["object"]

    assert (updated["id"], updated["customer"]) == (deleted["id"], deleted["customer"])
    assert updated["metadata"]["workspace_id"] == "ws_1"
    assert sample("invoice.paid", "ws_1", later)["data"]["object"]["customer"] == updated["customer"]


def test_an_unknown_type_names_near_ones() -> None:
    """A typing error costs one look."""
    with pytest.raises(ValueError, match=r"customer\.subscription\.updated"):
        sample("subscription.updated")

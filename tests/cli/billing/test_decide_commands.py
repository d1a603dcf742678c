"""`nilometer billing conflicts`, `link` and `drop` on a stack that was filled from a fake Stripe."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld

KEY = {"STRIPE_API_KEY": "sk_test_fake"}


@pytest.fixture(scope="module")
def world() -> StripeWorld:
    """A workspace that pays, and a stranger who bought by a link with its id in the URL."""
    made = StripeWorld(datetime.now(UTC).replace(microsecond=0) - timedelta(days=9), seed=uuid.uuid4().int)
    price = made.price(made.product("Papyrus", {"limit_api_calls": "1000/seat", "plan": "papyrus"}), 4900)
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    made.subscribe(made.customer(workspace), [(price, 3)])
    made.advance(timedelta(days=1))
    before = len(made.events)
    made.checkout(workspace, [(price, 1)])
    for event in made.events[before:]:
        snapshot = event["data"]["object"]
        snapshot["metadata"] = {}
        if snapshot["object"] == "checkout.session":
            snapshot["client_reference_id"] = workspace
    return made


@pytest.fixture(scope="module")
def stripe(nilometer: Any, stack: Any, world: StripeWorld) -> Iterator[str]:
    """Its URL; the stack knows all of its events."""
    with serve(world) as (url, _):
        assert nilometer("backfill", "events", "--api-base", url, "--json", env=KEY).code == 0
        yield url


def customers(world: StripeWorld) -> list[str]:
    return [known["id"] for known in world.objects.values() if known["object"] == "customer"]


def workspace(world: StripeWorld) -> str:
    return str(world.objects[customers(world)[0]]["metadata"]["workspace_id"])


def test_a_conflict_is_shown_and_decided(nilometer: Any, stripe: str, world: StripeWorld) -> None:
    """By `show`, `conflicts` and `explain`; after `link` both customers count."""
    ws, stranger = workspace(world), customers(world)[1]
    shown = nilometer("billing", "show", ws)
    listed = nilometer("billing", "conflicts", "--json").lines
    explained = nilometer("billing", "explain", stranger)
    nilometer("workspace", "create", ws, "--name", "Acme")

    linked = nilometer("billing", "link", stranger, ws, "--yes")
    after = nilometer("billing", "show", ws, "--json").json

    assert "conflicts" in shown.out
    assert "test mode" in shown.out
    assert [one["customer"] for one in listed if one["workspace"] == ws] == [stranger]
    assert "a buyer can" in " ".join(explained.out.split())
    assert (linked.code, after["conflicts"], after["limits"]) == (0, [], {"api_calls": 4000})
    assert stranger not in nilometer("billing", "conflicts").out


def test_linking_a_customer_that_nobody_knows(nilometer: Any, stripe: str) -> None:
    """Needs to be said where it is."""
    answer = nilometer("billing", "link", "cus_nobody", "ws", "--yes")

    assert answer.code == 2
    assert "--account" in answer.err


def test_an_event_is_dropped(nilometer: Any, stripe: str, world: StripeWorld) -> None:
    """What Stripe says now holds; an event that nobody knows is an error."""
    subscription = next(known["id"] for known in world.objects.values() if known["object"] == "subscription")
    event = next(e["id"] for e in reversed(world.events) if e["data"]["object"].get("id") == subscription)

    wrong = nilometer("billing", "drop", subscription, "evt_nobody", "--yes", "--api-base", stripe, env=KEY)
    dropped = nilometer("billing", "drop", subscription, event, "--yes", "--api-base", stripe, env=KEY)

    assert (wrong.code, dropped.code) == (1, 0)
    told = nilometer("billing", "explain", subscription, "--json").lines[0]
    assert event not in [row["event_id"] for row in told["evidence"]]
    assert told["state"]["status"] == "active"

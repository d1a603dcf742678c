"""A stranger's events come through the real webhook, bus and queues, and change nobody else's plan or usage."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.events.webhook import event, post

from nilometer.local.stripe.world import StripeWorld


def bought_with_anothers_workspace(workspace: str) -> StripeWorld:
    """A workspace that pays for three seats, and a stranger who buys one by a link with its id in the URL."""
    made = StripeWorld(datetime.now(UTC).replace(microsecond=0) - timedelta(days=9), seed=uuid.uuid4().int)
    price = made.price(made.product("Papyrus", {"limit_api_calls": "1000/seat", "plan": "papyrus"}), 4900)
    made.subscribe(made.customer(workspace), [(price, 3)])
    made.advance(timedelta(days=1))
    before = len(made.events)
    made.checkout(workspace, [(price, 1)])
    for stranger in made.events[before:]:
        snapshot = stranger["data"]["object"]
        snapshot["metadata"] = {}
        if snapshot["object"] == "checkout.session":
            snapshot["client_reference_id"] = workspace
    return made


def test_a_buyer_does_not_take_over_a_workspace(nilometer: Any, stack: Any) -> None:
    """Whatever order his events come in; his claim waits as a conflict that names him."""
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    events = bought_with_anothers_workspace(workspace).events
    random.Random(workspace).shuffle(events)

    answers = {post(stack, json.dumps(one).encode()) for one in events}
    nilometer("wait")
    shown = nilometer("billing", "show", workspace, "--json").json

    assert answers == {200}
    assert shown["limits"] == {"api_calls": 3000}
    assert len(shown["customers"]) == 1
    assert [one["workspace"] for one in nilometer("billing", "conflicts", "--json").lines].count(workspace) == 1


def test_usage_is_not_counted_through_stripes_webhook(nilometer: Any, stack: Any) -> None:
    """A holder of the signing secret may post any type; a rule takes usage from services only."""
    workspace, meter = f"ws_{uuid.uuid4().hex[:8]}", f"m_{uuid.uuid4().hex[:8]}"
    nilometer("workspace", "create", workspace)
    nilometer("meter", "create", meter, "--unit", "call")
    posed = event(
        "usage.recorded.v1",
        specversion="1.0",
        source="/services/inference",
        subject=workspace,
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    posed["data"] = {"meter": meter, "quantity": "777", "unit": "call", "object": {"id": "x", "object": "thing"}}

    answer = post(stack, json.dumps(posed).encode())
    nilometer("wait")
    usage = nilometer("usage", "show", workspace, "--json")

    assert answer in {200, 400}
    assert "777" not in usage.out

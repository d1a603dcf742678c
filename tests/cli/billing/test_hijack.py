"""A stranger's events come through the real webhook, bus and queues, and change nobody else's plan or usage."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.command_line import CommandLine
from tests.support.events.webhook import event, post

from nilometer.local.stack.stack import Options
from nilometer.local.stack.stack import stack as running_stack
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


def test_a_buyer_s_lost_dispute_is_not_the_workspace_s_risk(nilometer: Any, stack: Any) -> None:
    """It is of his own purchase, which is in conflict."""
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    made = bought_with_anothers_workspace(workspace)
    charge = [one for one in made.objects.values() if one["object"] == "charge"][-1]
    dispute = {"id": made.new_id("dp"), "object": "dispute", "charge": charge["id"], "status": "lost"}
    made.emit("charge.dispute.closed", {**dispute, "created": made.second})

    answers = {post(stack, json.dumps(one).encode()) for one in made.events}
    nilometer("wait")
    shown = nilometer("billing", "show", workspace, "--json").json

    assert answers == {200}
    assert shown["risk"] is None
    assert [one["customer"].rpartition("/")[2] for one in shown["conflicts"]] == [charge["customer"]]


def test_a_connected_account_gives_no_workspace_a_plan(nilometer: Any, stack: Any) -> None:
    """Its owner writes our workspace into the metadata of his own free subscription: refused, and visible."""
    workspace, account = f"ws_{uuid.uuid4().hex[:8]}", f"acct_{uuid.uuid4().hex[:12]}"
    assert nilometer("workspace", "create", workspace).code == 0
    made = StripeWorld(datetime.now(UTC).replace(microsecond=0) - timedelta(days=9), account=account)
    made.subscribe(
        made.customer(workspace), [(made.price(made.product("Free", {"limit_api_calls": "unlimited"}), 0), 1)]
    )

    answers = {post(stack, json.dumps(one).encode()) for one in made.events}
    nilometer("wait")
    [listed] = [one for one in nilometer("billing", "list", "--json").lines if one["workspace"] == workspace]
    refused = [one for one in nilometer("billing", "conflicts", "--json").lines if one["workspace"] == workspace]

    assert answers == {200}
    assert (listed["plan"], listed["access"], listed["limits"]) == (None, "none", {})
    assert [(one["account"], one["reason"]) for one in refused] == [(account, "refused")]


def test_test_mode_gives_nothing_on_a_stack_that_bills(alone: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription of test mode names the workspace and is refused; the one of live mode counts."""
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(alone.runtime))
    process = replace(alone, in_process=False)
    tried, paid = (
        StripeWorld(datetime.now(UTC).replace(microsecond=0) - timedelta(days=9), seed=seed, livemode=seed > 0)
        for seed in (0, 1)
    )
    for made, name, limit in ((tried, "enterprise", "unlimited"), (paid, "papyrus", "1000")):
        product = made.product(name, {"plan": name, "limit_api_calls": limit})
        made.subscribe(made.customer("acme"), [(made.price(product, 4900), 1)])

    with running_stack(Options(port=0, aws_port=0, parameters={"BillingScopes": "self/live"})) as running:
        to = SimpleNamespace(about=asdict(running.description))
        before = {post(to, json.dumps(one).encode()) for one in tried.events}
        process("wait")
        refused = process("billing", "show", "acme")
        after = {post(to, json.dumps(one).encode()) for one in paid.events}
        process("wait")
        shown = process("billing", "show", "acme", "--json").json
        conflicts = [(one["customer"], one["reason"]) for one in process("billing", "conflicts", "--json").lines]

    assert before == after == {200}
    assert (refused.code, "nothing of acme" in refused.err) == (1, True)
    assert (shown["plan"], shown["limits"]) == ("papyrus", {"api_calls": 1000})
    assert len(conflicts) == 1


def test_usage_is_not_counted_through_stripes_webhook(nilometer: Any, stack: Any) -> None:
    """A holder of the signing secret may post any type; a rule takes usage from services only."""
    workspace, meter = f"ws_{uuid.uuid4().hex[:8]}", f"m_{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", workspace).code == 0
    assert nilometer("meter", "create", meter, "--unit", "call", "--aggregation", "sum").code == 0
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

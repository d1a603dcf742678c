"""Billing as a person asks for it, and Stripe asked again: `billing show|explain|history`, `reconcile`, `backfill`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.command_line import CommandLine, Local

from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld

KEY = {"STRIPE_API_KEY": "sk_test_fake"}


@pytest.fixture(scope="module")
def nilometer(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line of a user whose only stack is the one below: Stripe must know all that is in it."""
    return CommandLine(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def stack(nilometer: CommandLine) -> Iterator[Local]:
    running = nilometer.local()
    yield running
    assert running.stop()[0] == 0


@pytest.fixture(scope="module")
def world() -> StripeWorld:
    """A workspace with three seats, of a day ago; its id is in its customer's metadata."""
    made = StripeWorld(datetime.now(UTC).replace(microsecond=0) - timedelta(days=1), seed=uuid.uuid4().int)
    product = made.product("Papyrus", {"limit_api_calls": "1000/seat", "plan": "papyrus"})
    price = made.price(product, 4900)
    made.subscribe(made.customer(f"ws_{uuid.uuid4().hex[:8]}"), [(price, 3)])
    made.advance(timedelta(hours=1))
    return made


@pytest.fixture(scope="module")
def stripe(world: StripeWorld) -> Iterator[str]:
    with serve(world) as (url, _):
        yield url


@pytest.fixture(scope="module")
def filled(nilometer: Any, stack: Any, stripe: str) -> Any:
    """A stack that was filled from Stripe's list of events."""
    return nilometer("backfill", "events", "--api-base", stripe, "--json", env=KEY)


def found(world: StripeWorld, kind: str) -> dict[str, Any]:
    return next(known for known in world.objects.values() if known["object"] == kind)


def workspace(world: StripeWorld) -> str:
    return str(found(world, "customer")["metadata"]["workspace_id"])


def test_a_dry_run_counts_events_and_takes_none(nilometer: Any, stack: Any, world: StripeWorld, stripe: str) -> None:
    """Twice the same number; the workspace stays unknown."""
    runs = [
        nilometer("backfill", "events", "--dry-run", "--api-base", stripe, "--json", env=KEY).json["new"]
        for _ in range(2)
    ]

    assert runs == [len(world.events)] * 2
    assert nilometer("billing", "show", workspace(world)).code == 1


def test_events_fill_an_empty_system_once(nilometer: Any, filled: Any, world: StripeWorld, stripe: str) -> None:
    """Progress on stderr; a second run finds nothing new."""
    again = nilometer("backfill", "events", "--api-base", stripe, "--json", env=KEY)

    assert (filled.code, filled.json["new"], again.json["new"]) == (0, len(world.events), 0)
    assert f"new up to {world.events[0]['id']}" in filled.err


def test_backfill_goes_on_after_an_event(nilometer: Any, stripe: str, world: StripeWorld, stack: Any) -> None:
    """Only what is older is asked for."""
    last = world.events[2]["id"]
    answer = nilometer("backfill", "events", "--dry-run", "--after", last, "--api-base", stripe, env=KEY)

    assert answer.code == 0
    assert f"up to {world.events[0]['id']}" in answer.err


def test_show_tells_what_a_workspace_has(nilometer: Any, filled: Any, world: StripeWorld) -> None:
    """For people the plan, the seats and why; for machines the whole record."""
    text = nilometer("billing", "show", workspace(world)).out
    record = nilometer("billing", "show", workspace(world), "--json").json

    assert all(word in text for word in ("papyrus", "full", "3,000", found(world, "subscription")["id"]))
    assert (record["plan"], record["seats"], record["limits"]) == ("papyrus", 3, {"api_calls": 3000})


def test_explain_names_the_events_and_the_rule(nilometer: Any, filled: Any, world: StripeWorld) -> None:
    """The subscription was made and became active within one second: the walk decides."""
    subscription = found(world, "subscription")["id"]
    [explained] = nilometer("billing", "explain", subscription, "--json").lines

    assert (explained["rule"], explained["state"]["status"]) == ("walk", "active")
    assert any(row["decides"] for row in explained["evidence"])
    assert "lead to it" in nilometer("billing", "explain", subscription).out
    assert nilometer("billing", "explain", "sub_nobody").code == 1


def test_history_tells_every_change(nilometer: Any, filled: Any, world: StripeWorld) -> None:
    """The same as `history show billing`."""
    assert nilometer("wait").code == 0
    steps = nilometer("billing", "history", workspace(world), "--json").lines

    assert steps
    assert steps == nilometer("history", "show", "billing", workspace(world), "--json").lines


def test_reconcile_finds_repairs_and_agrees(nilometer: Any, filled: Any, world: StripeWorld, stripe: str) -> None:
    """A change that never arrived: 3 in a dry run, then merged, then nothing differs."""
    subscription = found(world, "subscription")["id"]
    world.advance(timedelta(minutes=1))
    world.change_quantity(subscription, 9)
    world.advance(timedelta(minutes=1))

    dry, repaired, agreed = (
        nilometer("reconcile", *options, "--api-base", stripe, "--json", env=KEY)
        for options in (["--dry-run"], [], ["--dry-run"])
    )

    assert [one["object_id"] for one in dry.json["drift"]] == [subscription]
    assert (dry.code, repaired.code, agreed.code, agreed.json["drift"]) == (3, 0, 0, [])
    assert nilometer("billing", "show", workspace(world), "--json").json["seats"] == 9


def test_without_a_key_it_says_which_variable(nilometer: Any, stack: Any) -> None:
    """One sentence, exit code 1."""
    answer = nilometer("reconcile", "--api-key-env", "NOT_SET_ANYWHERE")

    assert answer.code == 1
    assert "set NOT_SET_ANYWHERE" in answer.err

"""What cannot be read in a Stripe event costs that field or that event, and no neighbour."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import OBJECTS, PLAYED_AT, bodies, play, records
from tests.support.flows.company import company

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import StripeEvent
from nilometer.domain.stripe.registers.register import merge, of_answer, of_event, register
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import reading
from nilometer.flows.billing.reconcile import changed
from nilometer.local.stripe.world import StripeWorld


def subscribed(metadata: dict[str, str] | None = None) -> StripeWorld:
    """One customer of workspace `ws` with one subscription whose price has `metadata`."""
    world, _, price = company()
    if metadata:
        world.update(price, metadata=metadata)
    world.subscribe(world.customer("ws"), [(price, 2)])
    return world


def with_strangers(world: StripeWorld, count: int = 30) -> list[dict[str, Any]]:
    for number in range(count):
        world.customer(f"ws_{number}")
    return world.events


UNREAD = ["1e5000", "1e999999", "1e300", "9" * 39, "1e-200", '{"included": 1e400}']


@pytest.mark.parametrize(
    ("text", "read"),
    [*((text, {}) for text in UNREAD), ('{"included": 5, "thresholds": "x"}', {"api": 5})],
)
def test_a_limit_that_cannot_be_read_costs_nobody_the_subscription(
    store: Store, text: str, read: dict[str, int]
) -> None:
    """It is named in the record, and what can be read of it counts; the payer has access, 30 others are known."""
    events = with_strangers(subscribed({"limit_api": text, "limit_ok": "7"}))

    results = play(store, events)

    record = records(store)["ws"]
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert (record["access"], record["limits"], record["unreadable_limits"]) == (
        "full",
        {"api_calls": 2000, "ok": 7, **read},
        ["api"],
    )
    assert len(records(store)) == 31


def rejects(store: Store) -> dict[str, str]:
    """Reasons by event id."""
    return {str(item["event_id"]): str(item["reason"]) for item in store.scan(Table.EVENTS, kind="reject")}


def played(store: Store, objects: Any, events: list[dict[str, Any]]) -> list[Result]:
    return billing.handle(bodies(events), store=store, objects=objects, now=PLAYED_AT)


def test_a_field_of_a_wrong_type_is_named_and_the_rest_counts(store: Store) -> None:
    """`attempt_count: "2x"` of one invoice, and a subscription whose `ended_at` is a text."""
    world = subscribed()
    events = json.loads(json.dumps(with_strangers(world)))
    for event in events:
        snapshot = event["data"]["object"]
        if snapshot["object"] == "invoice":
            snapshot["attempt_count"] = "2x"
        if snapshot["object"] == "subscription":
            snapshot["ended_at"] = "yesterday"

    results = play(store, events)

    record = records(store)["ws"]
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert (record["access"], len(records(store))) == ("full", 31)
    assert record["unreadable"][record["subscription"]] == ["ended_at"]


def test_a_status_that_cannot_be_read_is_unknown(store: Store) -> None:
    """Never the text "None"."""
    events = json.loads(json.dumps(subscribed().events))
    for event in events:
        if event["data"]["object"]["object"] == "subscription":
            event["data"]["object"]["status"] = ["active"]

    play(store, events)

    assert (records(store)["ws"]["status"], records(store)["ws"]["access"]) == ("unknown", "none")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("id", "evt_" + "x" * 3000, "too_large"),
        ("id", "evt_" + "ü" * 200, "too_large"),
        ("created", "yesterday", "invalid_schema"),
        ("created", epoch(PLAYED_AT) + 301, "too_far_in_future"),
        ("created", 4102444800, "too_far_in_future"),
        ("account", "acct_" + "x" * 2000, "too_large"),
    ],
)
def test_an_event_out_of_bounds_is_a_reject(store: Store, objects: Any, field: str, value: Any, reason: str) -> None:
    """Alone, with its reason; those beside it are accepted."""
    events = with_strangers(subscribed())
    events[7] = {**events[7], field: value}

    results = played(store, objects, events)

    assert [n for n, result in enumerate(results) if result.outcome is not Outcome.ACCEPTED] == [7]
    assert list(rejects(store).values()) == [reason]


@pytest.mark.parametrize("field", ["id", "customer"])
def test_an_object_whose_id_cannot_be_read_is_a_reject(store: Store, objects: Any, field: str) -> None:
    """Of 2,000 bytes, or no text at all."""
    events = json.loads(json.dumps(with_strangers(subscribed())))
    place = next(n for n, event in enumerate(events) if event["data"]["object"]["object"] == "subscription")
    events[place]["data"]["object"][field] = "x" * 2000

    results = played(store, objects, events)

    assert [n for n, result in enumerate(results) if result.outcome is not Outcome.ACCEPTED] == [place]
    assert list(rejects(store).values()) == ["invalid_schema"]


def test_a_workspace_id_out_of_bounds_names_nobody(store: Store) -> None:
    """A customer whose metadata says 3,000 bytes waits for a link, and its record says why."""
    world, _, _ = company()
    events = json.loads(json.dumps(world.events))
    customer = world.customer("w" * 3000)
    events += [event for event in world.events if event["data"]["object"]["id"] == customer]

    play(store, events)

    assert records(store)[None]["unreadable"] == {customer: ["metadata.workspace_id"]}


def test_a_test_clock_may_run_ahead(store: Store) -> None:
    """In test mode an event of a clock's customer carries the clock's time; in live mode there are no clocks."""
    world, _, _ = company()
    world.customer("ws")
    ahead = {**json.loads(json.dumps(world.events[-1])), "created": epoch(PLAYED_AT) + 86_400}
    ahead["data"]["object"]["test_clock"] = "clock_1"

    assert [result.outcome for result in play(store, [ahead])] == [Outcome.ACCEPTED]


YEAR = 365 * 86_400
CLOCKED = {"customer", "subscription", "invoice", "subscription_schedule"}
"""Stripe's objects that name their test clock; a payment happens in real time."""


def on_a_clock(world: StripeWorld) -> list[dict[str, Any]]:
    """The events of a world whose clock is a year ahead of those who read them."""
    events: list[dict[str, Any]] = json.loads(json.dumps(world.events))
    for event in events:
        found = event["data"]["object"]
        if found["object"] in CLOCKED:
            found["test_clock"] = "clock_1"
            event["created"] += epoch(PLAYED_AT) - world.second + YEAR
    return events


def test_what_a_test_clock_plays_is_the_state(store: Store, objects: Any) -> None:
    """Of a year ahead, in any order; a payment of the clock's customer is dated by the real time."""
    world, _, price = company()
    sub = world.subscribe(world.customer("ws"), [(price, 2)])
    world.advance(timedelta(days=31))
    world.renew(sub)
    world.advance(timedelta(days=1))
    world.cancel_at_period_end(sub)
    events = on_a_clock(world)

    results = played(store, objects, events[::-1])

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    record = records(store)["ws"]
    assert (record["status"], record["cancel_at_period_end"], record["seats"]) == ("active", True, 2)


@pytest.mark.parametrize("live", [False, True])
def test_an_event_ahead_of_no_clock_says_so(store: Store, objects: Any, live: bool) -> None:
    """There are none in live mode; in test mode the reject says that its object names none."""
    [event] = [event for event in on_a_clock(subscribed()) if event["type"] == "customer.subscription.created"]
    event["data"]["object"] |= {"livemode": True} if live else {"test_clock": None}

    played(store, objects, [event | {"livemode": live}])

    [reject] = store.scan(Table.EVENTS, kind="reject")
    assert (reject["reason"], "no test clock" in reject["message"]) == ("too_far_in_future", not live)


def test_stripes_answer_corrects_nothing_that_a_clock_said_later() -> None:
    """It is dated by the real time, so it is older: no drift; but a deletion is one."""
    [event] = [event for event in on_a_clock(subscribed()) if event["type"] == "customer.subscription.created"]
    arrived = billing.arrived(bodies([event])[0].body, objects=OBJECTS, now=PLAYED_AT).event
    assert isinstance(arrived, StripeEvent)
    told = register([of_event(arrived)])
    of: dict[str, Any] = {
        "object_type": "subscription",
        "object_id": event["data"]["object"]["id"],
        "second": epoch(PLAYED_AT),
    }
    other = of_answer(event["data"]["object"] | {"status": "past_due"}, **of)

    assert changed(told, merge(told, register([other]))) == ()
    assert "deleted" in changed(told, merge(told, register([of_answer(None, **of)])))


def test_a_thin_event_may_bring_data(store: Store) -> None:
    """As Stripe's API returns it: its object is fetched all the same."""
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.customer.updated",
        "created": "2026-11-01T00:00:00Z",
        "livemode": False,
        "data": {"developer_message_summary": "x"},
        "related_object": {"id": "cus_1", "type": "customer"},
    }

    assert [result.outcome for result in play(store, [thin])] == [Outcome.ACCEPTED]
    assert [item["object_id"] for item in store.scan(Table.RECORDS, kind="refetch")] == ["cus_1"]
    assert list(reading.list_objects(store)) == []

"""Changes that concern more items than a transaction takes: they are made in several, and stop nothing beside them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from tests.support.flows.billing_play import PLAYED_AT, in_any_order, play, records, wrong
from tests.support.flows.company import company
from tests.support.simulation.scopes.billing.parts import small_parts
from tests.support.stores.memory import MemoryStore

from nilometer import CreateWorkspace, LinkCustomer, perform, service
from nilometer.domain.billing import plan
from nilometer.domain.billing.record import stored
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store.lists import SETTLES
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Refused
from nilometer.flows.billing.reading import list_billing
from nilometer.flows.billing.reconcile import reconcile
from nilometer.flows.billing.refetch import refetch_due
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

MANY = 104
SCOPE = Scope()


@pytest.fixture
def store() -> MemoryStore:
    """It refuses what is too large for a transaction."""
    return MemoryStore()


def api(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=5000)


def priced_apart() -> tuple[StripeWorld, str]:
    """A customer whom nobody has linked, with many subscriptions of a price each: the world and the customer."""
    world, product, _ = company()
    customer = world.customer()
    for n in range(MANY):
        world.subscribe(customer, [(world.price(product, 100 + n), 1)])
        world.advance(timedelta(seconds=5))
    return world, customer


def test_a_customer_with_many_prices_is_linked(store: MemoryStore) -> None:
    """Its workspace begins to use them all at once; a change of their product reaches it afterwards."""
    world, customer = priced_apart()
    play(store, world.events)
    mark = len(world.events)
    world.update(customer, metadata={"workspace_id": "acme"})
    [linked] = play(store, world.events[mark:])
    world.update(_first(world, "product"), metadata={"limit_api_calls": "7"})
    play(store, world.events[-1:])

    assert linked.outcome is Outcome.ACCEPTED
    assert {workspace: record["limits"] for workspace, record in records(store).items()} == {
        "acme": {"api_calls": 7 * MANY}
    }


@pytest.mark.parametrize("lost", [True, False])
def test_reconcile_links_it_too(store: MemoryStore, lost: bool) -> None:
    world, customer = priced_apart()
    play(store, world.events)
    world.update(customer, metadata={"workspace_id": "acme"})
    play(store, [] if lost else world.events[-1:])
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        found = reconcile(store, api(url), scope=SCOPE, now=world.now)

    assert [one.object_id for one in found.drift] == [customer] * lost
    assert {workspace: len(one["subscriptions"]) for workspace, one in records(store).items()} == {"acme": MANY}


def test_an_operator_is_told_that_it_is_too_much(store: MemoryStore) -> None:
    """One deed is one transaction."""
    world, customer = priced_apart()
    play(store, world.events)
    perform(store, service("acme", "test"), CreateWorkspace(name="acme"), now=world.now)

    with pytest.raises(Refused, match="too many"):
        perform(store, service("acme", "test"), LinkCustomer(customer=customer, livemode=False), now=world.now)


def test_all_subscriptions_of_a_deleted_customer_are_asked_for(store: MemoryStore) -> None:
    """Their ends were lost: it has no access at once, and in the end no doubt is left."""
    world, _, price = company()
    customer = world.customer("acme")
    for _ in range(MANY):
        world.subscribe(customer, [(price, 1)])
    play(store, world.events)
    world.advance(timedelta(days=1))
    mark = len(world.events)
    world.delete_customer(customer)
    told = play(store, [event for event in world.events[mark:] if event["type"] == "customer.deleted"])
    at_once = records(store)["acme"]["access"]
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        asked = [refetch_due(store, api(url), scope=SCOPE, now=world.now) for _ in range(4)]

    assert ([one.outcome for one in told], at_once) == ([Outcome.ACCEPTED], "none")
    assert sum(map(len, asked)) == MANY
    assert (records(store)["acme"]["status"], records(store)["acme"]["in_doubt"]) == ("canceled", [])


def test_in_parts_or_not_the_state_is_the_same(dynamodb: Any) -> None:
    """Large customers change, move, pay for several workspaces and are deleted, in any order and in any batches; a
    product that all use changes."""
    world = random_month(3, customers=6)
    price, product = (
        next(one["id"] for one in world.objects.values() if one["object"] == o) for o in ("price", "product")
    )
    customers = [one["id"] for one in world.objects.values() if one["object"] == "customer" and not one.get("deleted")]
    for customer in customers:
        living = [world.subscribe(customer, [(price, 1)]) for _ in range(5)]
        world.advance(timedelta(hours=1))
        world.change_quantity(living[1], 7)
        world.cancel(living[2])
    world.update(customers[0], metadata={"workspace_id": "elsewhere"})
    world.update(customers[1], metadata={})
    world.update(living[0], metadata={"workspace_id": "apart"})
    world.update(product, metadata={"limit_api_calls": "7/seat", "plan": "changed"})
    world.delete_customer(customers[2])
    whole = in_any_order(dynamodb, world.events, orders=1)

    with small_parts():
        in_parts = in_any_order(dynamodb, world.events)

    assert in_parts == whole


def _first(world: StripeWorld, kind: str) -> str:
    return next(str(one["id"]) for one in world.objects.values() if one["object"] == kind)


def large(subscriptions: int = 120) -> tuple[StripeWorld, str]:
    """A workspace with a customer that is large, and its last subscription."""
    world, _, price = company()
    customer = world.customer("acme")
    for n in range(subscriptions):
        last = world.subscribe(customer, [(price, 1 + n)])
    return world, last


def played_for_a_day(store: MemoryStore, world: StripeWorld) -> None:
    """All events, the last one more than a day after the others: so the customer has parts."""
    play(store, world.events[:-1], now=PLAYED_AT - 2 * SETTLES)
    play(store, world.events[-1:])
    assert list(store.scan(Table.RECORDS, kind="billing_part"))


def test_a_customer_that_is_large_has_parts_after_a_day(store: MemoryStore) -> None:
    """Nobody can tell; and when most subscriptions have ended, they are gone."""
    world, last = large()
    world.change_quantity(last, 5)
    at_once = MemoryStore()
    play(at_once, world.events)
    played_for_a_day(store, world)

    assert records(store) == records(at_once)
    assert not list(at_once.scan(Table.RECORDS, kind="billing_part"))
    mark = len(world.events)
    for one in [one["id"] for one in world.objects.values() if one["object"] == "subscription"][:100]:
        world.cancel(one)
    play(store, world.events[mark:])
    play(at_once, world.events[mark:])
    assert records(store) == records(at_once)
    assert not list(store.scan(Table.RECORDS, kind="billing_part"))


def test_a_record_that_is_half_full_does_not_wait(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a workspace that comes with thousands of subscriptions on one day."""
    monkeypatch.setattr(plan, "FULL", 2000)
    world, _ = large()

    play(store, world.events)

    assert list(store.scan(Table.RECORDS, kind="billing_part"))
    assert wrong(store, world) == []


def test_a_product_of_a_large_customer_changes(store: MemoryStore) -> None:
    """Also while a debit of one of its subscriptions is on its way, which the fold asks of a part."""
    world, last = large()
    debit = {"status": "open", "amount_remaining": 500, "attempt_count": 1, "next_payment_attempt": None}
    world.update(world.objects[last]["latest_invoice"], **debit)
    world.change_quantity(last, 3)
    played_for_a_day(store, world)
    world.update(_first(world, "product"), metadata={"limit_api_calls": "3", "plan": "new"})
    stored._RECENT.clear()
    play(store, world.events[-1:])

    assert records(store)["acme"]["limits"] == {"api_calls": 3 * 120}
    assert records(store)["acme"]["dunning"] is None


def test_a_list_reads_again_what_changes_meanwhile(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is newer than its record: both are read once more."""
    world, last = large()
    world.change_quantity(last, 2)
    played_for_a_day(store, world)
    world.change_quantity(last, 99)
    read, late = store.batch_get, list(world.events[-1:])

    def batch_get(*args: Any, **options: Any) -> Any:
        if late:
            with patch.object(stored, "_RECENT", {}):  # another process
                play(store, [late.pop()])
        return read(*args, **options)

    monkeypatch.setattr(store, "batch_get", batch_get)
    stored._RECENT.clear()
    [told] = list_billing(store)

    assert not late
    assert [one["items"][0]["quantity"] for one in told["subscriptions"] if one["id"] == last] == [99]


def test_a_part_is_read_with_its_record(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that has seen the customer before and has not the part: how many parts there are is remembered."""
    world, last = large()
    world.change_quantity(last, 2)
    played_for_a_day(store, world)
    world.change_quantity(last, 99)
    read, asked = store.batch_get, list[Table]()

    def batch_get(table: Table, *args: Any, **options: Any) -> Any:
        asked.append(table)
        return read(table, *args, **options)

    monkeypatch.setattr(store, "batch_get", batch_get)
    stored._RECENT.clear()
    play(store, world.events[-1:])

    assert asked.count(Table.RECORDS) == 1
    assert wrong(store, world) == []


def of_many_workspaces(workspaces: int) -> tuple[StripeWorld, str]:
    """One customer with a subscription for each of many workspaces."""
    world, _, price = company()
    customer = world.customer()
    for n in range(workspaces):
        subscription = world.subscribe(customer, [(price, 1 + n)])
        world.update(subscription, metadata={"workspace_id": f"ws_{n}"})
        world.advance(timedelta(seconds=5))
    return world, customer


def test_one_more_workspace_writes_its_record_alone(store: MemoryStore, dynamodb: Any) -> None:
    """However many others the customer pays for."""
    world, _ = of_many_workspaces(MANY)

    told = play(store, world.events, batch=25)

    assert {one.outcome for one in told} == {Outcome.ACCEPTED}
    seats = {workspace: record["seats"] for workspace, record in records(store).items() if record["customers"]}
    assert seats == {f"ws_{n}": 1 + n for n in range(MANY)}
    assert len(in_any_order(dynamodb, of_many_workspaces(6)[0].events)) == 6


def test_what_is_too_large_stops_no_comparison(store: MemoryStore) -> None:
    """A card of a customer who pays for too many workspaces is in none of them; what is lost beside it is found."""
    world, customer = of_many_workspaces(MANY)
    play(store, world.events, batch=25)
    card = world.attach_card(customer)
    other = world.customer("beside")
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        found = reconcile(store, api(url), scope=SCOPE, now=world.now)
        again = reconcile(store, api(url), scope=SCOPE, now=world.now)

    assert {one.object_id for one in found.drift} == {card, customer, other}
    assert {one.object_id for one in again.drift} == {card, customer}
    assert records(store)["beside"]["customers"] == [other]

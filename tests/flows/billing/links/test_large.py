"""Changes that concern more items than a transaction takes: they are made in several, and stop nothing beside them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import in_any_order, play, records
from tests.support.flows.company import company
from tests.support.stores.memory import MemoryStore

from nilometer import CreateWorkspace, LinkCustomer, perform, service
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Refused
from nilometer.flows.billing.reconcile import reconcile
from nilometer.flows.billing.refetch import refetch_due
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
    product = next(one["id"] for one in world.objects.values() if one["object"] == "product")
    world.update(product, metadata={"limit_api_calls": "7"})
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

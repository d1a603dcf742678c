"""What events cost, in requests and write units: bounds that a change must not pass unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from tests.support.faulty import FaultyStore
from tests.support.flows.billing_play import play, wrong
from tests.support.flows.company import company
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import StripeWorld

CUSTOMERS = 30


def test_an_event_alone_in_its_batch_is_cheap(store: Store) -> None:
    """On filled tables at most 2.6 requests and 5.5 write units: a transaction only where items depend on another."""
    world = random_month(1, customers=6)
    half = len(world.events) // 2
    play(store, world.events[:half])
    store.requests, store.write_units = 0, 0.0

    events = world.events[half : half + 100]
    play(store, events, batch=1)

    assert store.requests / len(events) <= 2.6
    assert store.write_units / len(events) <= 5.5


def test_an_event_that_changes_a_register_alone_costs_two_units(store: Store) -> None:
    """Its register and its fact are plain conditional writes; one that comes again writes nothing."""
    world, _, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)
    invoice = next(o["id"] for o in world.objects.values() if o["object"] == "invoice")
    world.update(invoice, metadata={"told": "later"})
    store.requests, store.write_units = 0, 0.0

    assert [one.outcome for one in play(store, world.events[-1:])] == [Outcome.ACCEPTED]

    assert (store.requests, store.write_units) == (3, 2.0)
    assert [one.outcome for one in play(store, world.events[-1:])] == [Outcome.DUPLICATE]
    assert store.write_units == 2.0


def test_a_lost_race_costs_its_own_group_alone(dynamodb: Any) -> None:
    """One customer of many is written by another consumer meanwhile: his events are decided again without a read, and
    committed with the others."""
    world, mine, rival = _many_changes()
    costs = []
    for rivals in ([], [rival]):
        store = new_store(dynamodb)
        play(store, world.events[: -len(mine) - 1])

        store.requests = 0
        play(FaultyStore(store, _before_the_first_commit(store, rivals)), mine)
        costs.append(store.requests)
        play(store, [rival])
        assert wrong(store, world) == []

    assert costs[1] - costs[0] == 1


def _many_changes() -> tuple[StripeWorld, list[Any], Any]:
    """Each of the customers changes a subscription, and the last of them once more."""
    world, _, price = company()
    subscriptions = [world.subscribe(world.customer(f"ws_{n}"), [(price, 1)]) for n in range(CUSTOMERS)]
    world.advance(timedelta(seconds=9))
    before = len(world.events)
    for one in subscriptions:
        world.change_quantity(one, 2)
    world.advance(timedelta(seconds=9))
    world.change_quantity(subscriptions[0], 3)
    return world, world.events[before:-1], world.events[-1]


def _before_the_first_commit(store: Store, rivals: Sequence[Any]) -> Callable[[str, int, bool], None]:
    left = [*rivals]

    def meanwhile(name: str, _call: int, landed: bool) -> None:
        if name == "commit" and left and not landed:
            _elsewhere(store, left.pop())

    return meanwhile


def _elsewhere(store: Store, event: Any) -> None:
    """By another consumer, whose requests are not counted."""
    spent = store.requests
    play(store, [event])
    store.requests = spent

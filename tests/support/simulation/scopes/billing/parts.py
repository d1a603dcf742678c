"""Scopes of large customers: their subscriptions are in parts, items that are written together with the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from unittest.mock import patch

from tests.support.flows.billing_play import records
from tests.support.simulation.kernel.scope import Plant, Scope
from tests.support.simulation.scopes.billing.customers import BEGAN, consume, is_true, played
from tests.support.simulation.scopes.usage.counting import law

from nilometer.domain.billing.group import NAMED_ALIKE
from nilometer.domain.billing.record import inputs, parts, stored
from nilometer.domain.store.writes import Table
from nilometer.local.stripe.world import StripeWorld


@contextmanager
def small_parts(part: int = 1, parted: int = 2) -> Iterator[None]:
    """A customer is large with `parted` plain subscriptions, `part` in each of its parts, and gets them at once; no
    process remembers what another one has read."""
    with (
        patch.multiple(parts, PART=part, PARTED=parted, NAMES=NAMED_ALIKE),
        patch.multiple(inputs, PARTED=parted, SETTLES=timedelta(0)),
        patch.multiple(stored, _RECENT={}),
    ):
        yield


def _customer_with(subscriptions: int) -> tuple[StripeWorld, str, list[str], int]:
    """The world, the customer, its subscriptions, and how many events told of them; a minute later."""
    world = StripeWorld(BEGAN, seed=1)
    price = world.price(world.product("Reed", {"limit_api_calls": "100/seat", "plan": "reed"}), 1900)
    customer = world.customer("ws_1")
    living = [world.subscribe(customer, [(price, 1)]) for _ in range(subscriptions)]
    known = len(world.events)
    world.advance(timedelta(minutes=1))
    return world, customer, living, known


@cache
def _company() -> tuple[StripeWorld, int]:
    """A customer with four subscriptions; then two of them change, and the customer moves to another workspace."""
    world, customer, living, known = _customer_with(4)
    world.change_quantity(living[0], 10)
    world.change_quantity(living[3], 20)
    world.update(customer, metadata={"workspace_id": "ws_2"})
    return world, known


def _subscribed(plant: Plant) -> None:
    """All before the changes is stored, in parts."""
    world, known = _company()
    with small_parts():
        played(plant, world.events[:known])
    law(len(list(plant.store.scan(Table.RECORDS, kind="billing_part"))) > 1, "the customer is not in parts")


def two_change(plant: Plant) -> Callable[[], None]:
    """Two subscriptions of one customer change at the same time, and the customer moves: no part is lost or old."""
    world, known = _company()
    plant.during(small_parts())
    first, second, *moved = world.events[known:]
    consume(plant, "consumer 1", [first])
    consume(plant, "consumer 2", [second, *moved])
    return lambda: _is_true(plant, world)


def one_moves(plant: Plant) -> Callable[[], None]:
    """A customer moves to another workspace beside a change of its subscription: its parts stay where they are."""
    world, known = _company()
    plant.during(small_parts())
    first, second, *moved = world.events[known:]
    consume(plant, "consumer 1", moved)
    consume(plant, "consumer 2", [second, first])
    return lambda: _is_true(plant, world)


def one_is_deleted(plant: Plant) -> Callable[[], None]:
    """A customer is deleted while its subscription changes: all of its parts are read, and go."""
    world, known = _deleted()
    plant.during(small_parts())
    consume(plant, "consumer 1", world.events[known : known + 1])
    consume(plant, "consumer 2", world.events[known + 1 :])

    def laws() -> None:
        is_true(plant, world, world.events)
        left = list(plant.store.scan(Table.RECORDS, kind="billing_part"))
        law(not left, f"{len(left)} parts of a customer without subscriptions")

    return laws


@cache
def _deleted() -> tuple[StripeWorld, int]:
    world, customer, living, known = _customer_with(3)
    world.change_quantity(living[0], 10)
    world.delete_customer(customer)
    return world, known


def _with_three(plant: Plant) -> None:
    """A customer with three subscriptions, in parts."""
    world, known = _deleted()
    with small_parts():
        played(plant, world.events[:known])


def _is_true(plant: Plant, world: StripeWorld) -> None:
    is_true(plant, world, world.events, workspace="ws_2")
    found = records(plant.store)
    law(found["ws_2"]["limits"] == {"api_calls": 3200}, f"limits are {found['ws_2']['limits']}")
    law(found["ws_1"]["subscriptions"] == [], "the workspace before still has subscriptions")


SCOPES = (
    Scope("two subscriptions of a large customer change", two_change, _subscribed, 1),
    Scope("a large customer moves beside a change", one_moves, _subscribed, 1),
    Scope("a large customer is deleted beside a change", one_is_deleted, _with_three, 1),
)

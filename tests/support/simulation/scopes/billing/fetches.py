"""Scopes of what is asked of Stripe, and of the catalog's changes on their way to all records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from tests.support.flows.billing_play import PLAYED_AT
from tests.support.simulation.kernel.scope import Plant, Scope
from tests.support.simulation.scopes.billing.customers import BEGAN, OWN, consume, is_true, played
from tests.support.simulation.scopes.usage.counting import law
from tests.support.simulation.services.dynamodb import StreamChange
from tests.support.simulation.services.stripe import SimAnswer, SimStripe

from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.registers.refetch import request
from nilometer.errors import NilometerError, Unavailable
from nilometer.flows.billing import catalog, refetch
from nilometer.local.stripe.world import StripeWorld


@cache
def company() -> tuple[StripeWorld, int]:
    """Two customers with a subscription each to one price; then the product and one subscription change. How many
    events came before that."""
    world = StripeWorld(BEGAN, seed=3)
    product = world.product("Reed", {"limit_api_calls": "100", "plan": "reed"})
    price = world.price(product, 1900)
    world.advance(timedelta(hours=1))
    subscriptions = [world.subscribe(world.customer(f"ws_{number}"), [(price, 2)]) for number in (1, 2)]
    known = len(world.events)
    world.advance(timedelta(hours=1))
    world.change_quantity(subscriptions[0], 3)
    world.update(product, metadata={"limit_api_calls": "150", "plan": "rice"})
    world.advance(timedelta(hours=1))
    world.update(product, metadata={"limit_api_calls": "200", "plan": "rush"})
    return world, known


def settled(plant: Plant) -> None:
    """All that came before the last changes."""
    world, known = company()
    played(plant, world.events[:known])
    catalog.resume(plant.store, now=PLAYED_AT)


def asked(plant: Plant) -> None:
    """The same, and the subscription and the product that change are to be fetched; no event tells of it."""
    settled(plant)
    for object_ in _changed():
        about = {"second": int(BEGAN.timestamp()), "cause": "test", "updated_at": "2026-10-01T00:00:00.000Z"}
        plant.store.commit([request(OWN, object_["object"], object_["id"], **about)])


def _changed() -> list[dict[str, Any]]:
    world, known = company()
    ids = {event["data"]["object"]["id"] for event in world.events[known:]}
    return [world.objects[id_] for id_ in sorted(ids)]


def fetched_alone(plant: Plant) -> Callable[[], None]:
    """The schedule fetches what is due: nothing else tells it. Another reason to ask comes meanwhile."""
    world, known = company()
    api: Any = _Asked(plant, world)
    plant.repeat("refetch", lambda: _refetch(plant, api), until=Unavailable, times=4)
    plant.world.spawn("another reason", lambda: _trying(lambda: _ask(plant, "other")))

    def laws() -> None:
        _fetched(plant, api, world, known)
        law(_asked_last(plant, api), "nobody asked Stripe after the last reason to ask")

    return laws


def _ask(plant: Plant, cause: str) -> None:
    subscription = next(one for one in _changed() if one["object"] == "subscription")
    about = {"second": int(BEGAN.timestamp()), "cause": cause, "updated_at": "2026-10-01T00:00:09.000Z"}
    plant.store.commit([request(OWN, "subscription", subscription["id"], **about)])


def _asked_last(plant: Plant, api: Any) -> bool:
    """Whether Stripe was asked after the last reason to ask, where there was one."""
    reasons = [change.number for change in plant.tables.stream if _is_reason(change)]
    return not reasons or api.asked[-1] >= reasons[-1]


class _Asked(SimStripe):
    """Remembers after how many changes it was asked."""

    def __init__(self, plant: Plant, truth: StripeWorld) -> None:
        super().__init__(plant.world, truth)
        self.plant = plant
        self.asked: list[int] = []

    def fetch(self, object_type: str, object_id: str) -> SimAnswer:
        found = super().fetch(object_type, object_id)
        if object_type == "subscription":
            self.asked.append(len(self.plant.tables.stream))
        return found


def _is_reason(change: StreamChange) -> bool:
    return change.new is not None and change.new.get("cause") == {"S": "other"}


def two_fetch(plant: Plant) -> Callable[[], None]:
    """Two schedules at once."""
    world, known = company()
    api: Any = SimStripe(plant.world, world)
    for number in (1, 2):
        plant.repeat(f"refetch {number}", lambda: _refetch(plant, api), until=Unavailable, times=4)
    return lambda: _fetched(plant, api, world, known)


def newly_used(plant: Plant) -> Callable[[], None]:
    """What an answer begins to use changes a moment later: the record that the answer made follows."""
    world, known = company()
    api: Any = SimStripe(plant.world, world)
    plant.repeat("refetch", lambda: _refetch(plant, api), until=Unavailable, times=4)
    consume(plant, "consumer", [event for event in world.events[known:] if "product" in event["type"]])

    def laws() -> None:
        law(_plans(plant) == {"rush"}, f"plans are {_plans(plant)}")

    return laws


def unsubscribed(plant: Plant) -> None:
    """Catalog and customers are known; no event told of a subscription, and one is to be fetched."""
    world, known = company()
    played(plant, [one for one in world.events[:known] if one["data"]["object"]["object"] in {"product", "price"}])
    customer = next(one for one in world.events if one["type"] == "customer.created")
    played(plant, [customer])
    about = {"second": int(BEGAN.timestamp()), "cause": "test", "updated_at": "2026-10-01T00:00:00.000Z"}
    mine = next(
        one
        for one in world.objects.values()
        if one["object"] == "subscription" and one["customer"] == customer["data"]["object"]["id"]
    )
    plant.store.commit([request(OWN, "subscription", mine["id"], **about)])


def a_product_changes_twice(plant: Plant) -> Callable[[], None]:
    """The second change comes while the first is on its way to the records."""
    world, known = company()
    plant.during(_pages_of_one())
    first, second = [event for event in world.events[known:] if "product" in event["type"]]
    consume(plant, "consumer 1", [first])
    consume(plant, "consumer 2", [second])
    plant.repeat("schedule", lambda: catalog.resume(plant.store, now=PLAYED_AT), until=Unavailable)
    return lambda: law(_plans(plant) == {"rush"}, f"plans are {_plans(plant)}")


def _trying(work: Callable[[], None]) -> None:
    try:
        work()
    except NilometerError:
        return


def _refetch(plant: Plant, api: Any) -> None:
    found = refetch.refetch_due(plant.store, api, scope=OWN, now=PLAYED_AT)
    if any(one.outcome != "settled" for one in found):
        raise Unavailable("some are asked again")


def _fetched(plant: Plant, api: Any, world: StripeWorld, known: int) -> None:
    with plant.calm():
        refetch.refetch_due(plant.store, api, scope=OWN, now=PLAYED_AT)
    left = list(plant.store.scan(Table.RECORDS, kind="refetch"))
    law(not left, f"{len(left)} requests are left")
    law(_plans(plant) == {"rush"}, f"plans are {_plans(plant)}")
    is_true(plant, world, world.events[:known], workspace="ws_1", plan="rush")


def _plans(plant: Plant) -> set[Any]:
    catalog.resume(plant.store, now=PLAYED_AT)
    return {item.get("plan") for item in plant.store.scan(Table.RECORDS, kind="billing")}


def a_product_changes(plant: Plant) -> Callable[[], None]:
    """The change of a product reaches its users a record at a time, beside a change of one of them and the schedule."""
    world, known = company()
    plant.during(_pages_of_one())
    consume(plant, "consumer 1", [event for event in world.events[known:] if "product" in event["type"]])
    consume(plant, "consumer 2", [event for event in world.events[known:] if "product" not in event["type"]])
    resume = lambda: catalog.resume(plant.store, now=PLAYED_AT)  # noqa: E731  # short
    plant.repeat("schedule", resume, until=Unavailable)

    def laws() -> None:
        law(_plans(plant) == {"rush"}, f"plans are {_plans(plant)}")
        is_true(plant, world, world.events, workspace="ws_1", plan="rush")

    return laws


@contextmanager
def _pages_of_one() -> Iterator[None]:
    before, catalog.PAGE = catalog.PAGE, 1
    try:
        yield
    finally:
        catalog.PAGE = before


def on_its_way(plant: Plant) -> None:
    """The product's first change has reached one of its two users."""
    settled(plant)
    world, known = company()
    with _pages_of_one():
        played(plant, [event for event in world.events[known:] if "product" in event["type"]][:1])


def another_change_on_its_way(plant: Plant) -> Callable[[], None]:
    """The product changes again while the schedule brings the first change to the rest of its users."""
    world, known = company()
    plant.during(_pages_of_one())
    consume(plant, "consumer", [event for event in world.events[known:] if "product" in event["type"]][1:])
    plant.repeat("schedule", lambda: catalog.resume(plant.store, now=PLAYED_AT), until=Unavailable)
    return lambda: law(_plans(plant) == {"rush"}, f"plans are {_plans(plant)}")


def two_fetch_beside_a_reason(plant: Plant) -> Callable[[], None]:
    """Two schedules fetch one object, and another reason to ask comes meanwhile: Stripe is asked after it."""
    api: Any = _Asked(plant, company()[0])
    for number in (1, 2):
        plant.world.spawn(f"refetch {number}", lambda: _trying(lambda: _refetch(plant, api)))
    plant.world.spawn("another reason", lambda: _trying(lambda: _ask(plant, "other")))

    def laws() -> None:
        with plant.calm():
            refetch.refetch_due(plant.store, api, scope=OWN, now=PLAYED_AT)
        law(not list(plant.store.scan(Table.RECORDS, kind="refetch")), "a request is left")
        law(_asked_last(plant, api), "nobody asked Stripe after the last reason to ask")

    return laws


def one_asked(plant: Plant) -> None:
    """All that came before the last changes, and the subscription is to be fetched."""
    settled(plant)
    _ask(plant, "test")


SCOPES = (
    Scope("an object that only the schedule asks for", fetched_alone, asked, 1),
    Scope("two schedules fetch one object", two_fetch, asked, 1),
    Scope("a product changes beside its users", a_product_changes, settled, 1),
    Scope("a product changes twice", a_product_changes_twice, settled, 1),
    Scope("what an answer begins to use", newly_used, unsubscribed, 1),
    Scope("another change beside one on its way", another_change_on_its_way, on_its_way, 0),
    Scope("two schedules fetch, and another reason comes", two_fetch_beside_a_reason, one_asked, 0),
)

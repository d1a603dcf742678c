"""With events lost or in doubt, Stripe is asked: through the official SDK, over HTTP, and the state is true again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import OBJECTS, PLAYED_AT, bodies, play, records, scrambled, wrong
from tests.support.flows.company import company
from tests.support.flows.operations import NOW
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store.times import from_epoch
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Rejected
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import reading
from nilometer.flows.billing.backfill import backfill_events
from nilometer.flows.billing.reconcile import reconcile
from nilometer.flows.billing.refetch import drop_event, due, merge_answer, refetch_due
from nilometer.local.stripe import schedules, troubles
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.server import FakeStripe, serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

SCOPE = Scope()


@pytest.fixture
def month() -> Iterator[tuple[StripeWorld, StripeApi, FakeStripe]]:
    """A company's month behind an HTTP server, and the SDK's client of it."""
    world = random_month(4, customers=6)
    world.advance(timedelta(minutes=5))
    with serve(world) as (url, fake):
        yield world, client(url), fake


def client(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=500)


@pytest.mark.parametrize("seed", range(6))
def test_lost_events_are_drift_and_repaired(store: Store, dynamodb: Any, seed: int) -> None:
    """Any part of a month never arrives, the rest in any order and partly twice, in any batches: the report names
    every object that is wrong, and the records end as if nothing had been lost."""
    world, whole, chance = troubled_month(seed), new_store(dynamodb), random.Random(seed)
    kept = chance.choice((0.1, 0.5, 0.9))
    arrived = [event for event in scrambled(world, seed) if fate(event, seed) < kept]
    play(store, arrived, batch=chance.choice((1, 7, 100)))
    play(whole, world.events)
    bad = told_wrong(store, world)

    with serve(world) as (url, _):
        first = reconcile(store, client(url), scope=SCOPE, now=NOW)
        again = reconcile(store, client(url), scope=SCOPE, now=NOW)

    assert bad
    assert bad <= {drift.object_id for drift in first.drift}
    assert (told_wrong(store, world), again.drift) == (set(), [])
    assert present(store) == present(whole)


def troubled_month(seed: int) -> StripeWorld:
    """A month with schedules, disputes, refunds, entitlements, and customers and cards that go."""
    world, chance = random_month(seed, customers=5, steps=4), random.Random(seed)
    kinds: dict[str, list[str]] = {}
    for known in world.objects.values():
        kinds.setdefault(known["object"], []).append(known.get("id", ""))
    living = [s for s in kinds["subscription"] if world.objects[s]["status"] == "active"]
    for step in (
        lambda: troubles.dispute(world, chance.choice(kinds["charge"])),
        lambda: troubles.close_dispute(world, troubles.dispute(world, kinds["charge"][0]), "lost"),
        lambda: troubles.refund(world, kinds["charge"][-1], 100),
        lambda: troubles.warn_of_fraud(world, chance.choice(kinds["charge"])),
        lambda: world.entitle(chance.choice(kinds["customer"]), ["sso", "export"]),
        lambda: world.detach(chance.choice(kinds["payment_method"])),
        lambda: [schedules.schedule(world, one, kinds["price"][2], 3) for one in living[:1]],
        lambda: world.delete_customer(chance.choice(kinds["customer"])),
    ):
        world.advance(timedelta(seconds=chance.choice((0, 1, 60))))
        step()
    world.advance(timedelta(minutes=5))
    return world


def fate(event: dict[str, Any], seed: int) -> float:
    """So that all copies of an event share its fate."""
    return random.Random(f"{seed} {event['id']}").random()


def told_wrong(store: Store, world: StripeWorld) -> set[str]:
    """But for what Stripe does not list and nothing folds: invoice payments, and payment methods of nobody."""

    def listed(known: dict[str, Any]) -> bool:
        nobodys = known["object"] == "payment_method" and known["customer"] is None
        return known["object"] != "invoice_payment" and not nobodys

    return {id_ for id_ in wrong(store, world) if listed(world.objects[id_])}


def present(store: Store) -> dict[str | None, Any]:
    """What is true now. Of a subscription's past periods, those whose every event was lost stay unknown."""
    found = records(store)
    for record in found.values():
        record.pop("periods", None)
    return found


def test_a_dry_run_writes_nothing(store: Store, month: tuple[StripeWorld, StripeApi, FakeStripe]) -> None:
    """It reports what would change."""
    _, api, _ = month

    report = reconcile(store, api, scope=SCOPE, now=NOW, dry_run=True)

    assert len(report.drift) == report.compared > 0
    assert not list(store.scan(Table.RECORDS))


def test_events_of_thirty_days_fill_an_empty_system(
    store: Store, month: tuple[StripeWorld, StripeApi, FakeStripe]
) -> None:
    """Stripe's event list, newest first, in pages, resumed in the middle: as if all had been delivered."""
    world, api, _ = month

    def handle(messages: Any) -> Any:
        return billing.handle(messages, store=store, objects=OBJECTS, now=PLAYED_AT)

    cursor, _ = next(iter(backfill_events(api, handle, since=0)))
    list(backfill_events(api, handle, since=0, after=cursor))

    assert wrong(store, world) == []
    assert {fact["source"] for fact in store.scan(Table.EVENTS)} == {"backfill"}


def test_a_doubt_is_fetched_once_and_settled(store: Store) -> None:
    """A lost event within a second: in doubt, due two seconds later, asked once, and true."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    world.advance(timedelta(seconds=9))
    for quantity in (5, 6, 7):
        world.change_quantity(subscription, quantity)
    lost = len(world.events) - 2
    play(store, [event for n, event in enumerate(world.events) if n != lost])
    world.advance(timedelta(seconds=30))

    with serve(world) as (url, fake):
        early = refetch_due(store, client(url), scope=SCOPE, now=world.now - timedelta(seconds=30))
        late = refetch_due(store, client(url), scope=SCOPE, now=world.now)
        refetch_due(store, client(url), scope=SCOPE, now=world.now)

    assert (early, [one.outcome for one in late], fake.requests) == ([], ["settled"], 1)
    assert wrong(store, world) == []


def test_a_late_event_settles_a_doubt_without_a_request(store: Store) -> None:
    """What was missing arrives before the fetch is due."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    world.advance(timedelta(seconds=9))
    for quantity in (5, 6, 7):
        world.change_quantity(subscription, quantity)
    missing = world.events[-2]
    play(store, [event for event in world.events if event is not missing])
    in_doubt = len(list(due(store, world.now + timedelta(hours=1))))

    play(store, [missing])

    assert (in_doubt, list(due(store, world.now + timedelta(hours=1)))) == (1, [])


def test_a_thin_notification_is_fetched(store: Store) -> None:
    """It names the object alone; three of them are one request, and the record is true."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 3)])
    notices = [
        {
            "id": f"evt_thin_{n}",
            "object": "v2.core.event",
            "type": "v1.customer.subscription.updated",
            "created": "2026-11-01T00:00:07.000Z",
            "livemode": False,
            "related_object": {"id": subscription, "type": "subscription", "url": "/v1/subscriptions/x"},
        }
        for n in range(3)
    ]
    world.advance(timedelta(minutes=1))

    outcomes = {result.outcome for result in play(store, notices)}
    with serve(world) as (url, fake):
        refetch_due(store, client(url), scope=SCOPE, now=world.now)

    assert (outcomes, fake.requests) == ({Outcome.ACCEPTED}, 1)
    assert records(store)["ws"]["seats"] == 3
    assert not list(due(store, world.now + timedelta(hours=1)))


def test_deletions_that_were_not_told_are_found(store: Store) -> None:
    """A customer is 200 with `deleted`, a product 404; neither is listed any more."""
    world, product, price = company()
    customer = world.customer("ws")
    world.subscribe(customer, [(price, 1)])
    play(store, world.events)
    told = len(world.events)
    world.advance(timedelta(days=1))
    world.delete_customer(customer)
    world.delete(product)
    world.advance(timedelta(minutes=1))
    del world.events[told:]

    with serve(world) as (url, _):
        reconcile(store, client(url), scope=SCOPE, now=NOW)

    gone = {o["id"] for o in reading.list_objects(store) if o["deleted"]}
    assert {customer, product} <= gone
    assert records(store)["ws"]["status"] == "canceled"


def test_long_lists_inside_an_object_are_followed(store: Store) -> None:
    """`has_more`: the items beyond the tenth are listed."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    for _ in range(24):
        world.add_item(subscription, price)
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        answer = client(url).fetch("subscription", subscription)
    merge_answer(store, answer, scope=SCOPE, object_type="subscription", object_id=subscription, now=NOW)

    assert len(records(store)["ws"]["subscriptions"][0]["items"]) == 25


def test_a_shortened_snapshot_is_fetched(store: Store) -> None:
    """An event shows ten of 25 items and says that there are more."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    for _ in range(24):
        world.add_item(subscription, price)
    shown = world.events[-1]["data"]["object"]["items"]
    shown |= {"data": shown["data"][:10], "has_more": True}
    play(store, world.events)
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        refetch_due(store, client(url), scope=SCOPE, now=world.now)

    assert len(records(store)["ws"]["subscriptions"][0]["items"]) == 25


def test_a_rate_limit_is_waited_out(month: tuple[StripeWorld, StripeApi, FakeStripe]) -> None:
    """429 is not an error of ours."""
    world, api, fake = month
    fake.refuse(2)
    customer = next(o["id"] for o in world.objects.values() if o["object"] == "customer")

    assert api.fetch("customer", customer).object == world.objects[customer]
    assert fake.refused == 2


def test_an_answer_is_dated_before_stripe_looked(month: tuple[StripeWorld, StripeApi, FakeStripe]) -> None:
    """Stripe's own clock less the round trip: never later than the state it shows."""
    world, api, _ = month

    answer = api.fetch("product", "prod_none")

    assert answer.object is None
    assert world.second - 2 <= answer.second <= world.second


def test_a_type_without_ids_is_refused(month: tuple[StripeWorld, StripeApi, FakeStripe]) -> None:
    """Nothing is asked."""
    _, api, fake = month

    with pytest.raises(Rejected, match="cannot be fetched"):
        api.fetch("balance", "x")
    assert fake.requests == 0


def test_an_event_from_the_future_is_dropped(store: Store) -> None:
    """It was stored before such events were rejected, and wins until an operator takes it out; its copy changes
    nothing."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    ahead = json.loads(json.dumps(next(e for e in reversed(world.events) if e["data"]["object"]["id"] == subscription)))
    ahead |= {"id": "evt_ahead", "created": 4_000_000_000}
    ahead["data"]["object"]["status"] = "unpaid"
    billing.handle(bodies([*world.events, ahead]), store=store, objects=OBJECTS, now=from_epoch(4_000_000_000))
    before = records(store)["ws"]["status"]

    with serve(world) as (url, _):
        dropped = drop_event(store, client(url), subscription, "evt_ahead", scope=SCOPE, now=world.now)
        again = drop_event(store, client(url), subscription, "evt_ahead", scope=SCOPE, now=world.now)
    play(store, [ahead])

    assert (before, dropped, again) == ("unpaid", True, False)
    assert (records(store)["ws"]["status"], wrong(store, world)) == ("active", [])

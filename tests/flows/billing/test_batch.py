"""The billing flow against a real engine: any order, any duplication, any crash; the same and the true state."""

from __future__ import annotations

import contextlib
import random
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at, unlucky
from tests.support.flows.billing_play import OBJECTS, bodies, deliver, play, records, scrambled, wrong
from tests.support.flows.company import START, company
from tests.support.flows.operations import NOW, envelope
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.registers.explain import object_of
from nilometer.domain.stripe.registers.register import OWNED
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import catalog, reading
from nilometer.flows.billing import objects as whose
from nilometer.flows.recovery import overview
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import StripeWorld


def outcomes(results: list[Result]) -> set[Outcome]:
    return {result.outcome for result in results}


# ---------------------------------------------------------------------- order, duplicates, crashes


@pytest.mark.parametrize(("seed", "mixed"), [(0, False), (1, False), (2, False), (3, True), (4, True)])
def test_any_order_and_duplication_ends_true(store: Store, seed: int, mixed: bool) -> None:
    """A month in random order with a third delivered twice: every object as Stripe has it."""
    world = random_month(seed, customers=8, mixed=mixed)

    play(store, scrambled(world, seed))

    assert wrong(store, world) == []
    assert set(records(store)) == {f"ws_{n}" for n in range(8)}


def test_a_subscription_has_the_period_of_its_record(store: Store) -> None:
    """In the third month a monthly and a quarterly item end together: wherever it is shown, the period is the month."""
    world, product, month = company()
    quarter = world.price(product, 9900, interval_count=3)
    subscription = world.subscribe(world.customer("ws"), [(quarter, 1), (month, 1)])
    world.renew(subscription)
    world.renew(subscription)
    play(store, world.events)

    record = records(store)["ws"]
    [row] = overview.billing(store, now=world.now)

    bounds = [record["current_period_start"], record["current_period_end"]]
    assert bounds[1] - bounds[0] == 30 * 86_400
    for [shown] in (record["subscriptions"], row["subscriptions"]):
        assert [shown["current_period_start"], shown["current_period_end"]] == bounds


def test_the_current_period_runs_where_it_is_shown(store: Store) -> None:
    """A monthly item is removed beside a yearly one, which no event follows for months: until the month is over it is
    the current period, then what is left of the year."""
    world, product, month = company()
    year = world.price(product, 9900, "year")
    subscription = world.subscribe(world.customer("ws"), [(year, 1)])
    world.advance(timedelta(days=3))
    world.add_item(subscription, month)
    world.advance(timedelta(days=5))
    world.remove_item(subscription, 1)
    play(store, world.events)

    begun, after = world.now, world.now + timedelta(days=100)
    shown = {now: _shown_periods(store, now) for now in (begun, after)}

    record = records(store)["ws"]
    assert [record["current_period_start"], record["current_period_end"]] == record["periods"][-2]
    assert shown == {begun: {tuple(record["periods"][-2])}, after: {tuple(record["periods"][-1])}}
    assert record["periods"][-2][0] < epoch(begun) < record["periods"][-1][0] < epoch(after)


def _shown_periods(store: Store, now: datetime) -> set[tuple[int, int]]:
    [row], told = overview.billing(store, now=now), reading.show_billing(store, "ws", now=now)
    assert told
    every = [row, told, *row["subscriptions"], *told["subscriptions"]]
    periods = {(one["current_period_start"], one["current_period_end"]) for one in every}
    return periods | {(row["period"]["start"], row["period"]["end"])}


def test_the_order_and_the_batches_do_not_matter(store: Store, dynamodb: Any) -> None:
    """Two permutations with other duplicates and batches: equal records."""
    world, other = random_month(5, customers=6), new_store(dynamodb)

    play(store, world.events)
    play(other, scrambled(world, 9), batch=7)

    assert records(store) == records(other)


def test_each_event_is_one_fact(store: Store) -> None:
    """Duplicates are distinguished from new events, within a batch and between batches."""
    world = random_month(1, customers=3)
    found = [result.outcome for result in play(store, [*world.events, *world.events])]

    assert found.count(Outcome.ACCEPTED) == len(world.events) == len(list(store.scan(Table.EVENTS)))
    assert found.count(Outcome.DUPLICATE) == len(world.events)


def test_16_no_mark_without_effect(store: Store, dynamodb: Any) -> None:
    """Dying before or after any call of a batch, then delivering it again, ends in the same state."""
    world, _, price = company()
    world.change_quantity(world.subscribe(world.customer("ws"), [(price, 1)]), 4)
    play(store, world.events)
    messages, truth = bodies(world.events), records(store)

    for call in range(1, 12):
        for landed in (False, True):
            other = new_store(dynamodb)
            again = deliver(FaultyStore(other, dies_at(call, landed=landed)), messages)
            deliver(other, again)

            assert records(other) == truth


def test_17_nothing_counts_per_delivery(store: Store) -> None:
    """The same event again changes no version of any record."""
    world, _, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)
    before = sorted(map(str, store.scan(Table.RECORDS)))

    play(store, world.events)

    assert sorted(map(str, store.scan(Table.RECORDS))) == before


@pytest.mark.parametrize("seed", range(2))
def test_two_consumers_that_die_and_lose_answers(store: Store, seed: int) -> None:
    """Batches of one month, twice, by two threads over a store that fails: the true state."""
    world = random_month(seed, customers=5, steps=4)

    def consume(number: int) -> None:
        messages = bodies(scrambled(world, seed * 10 + number))
        faulty: Any = FaultyStore(store, unlucky(number, deaths=0.02, losses=0.02), stale=True)
        for start in range(0, len(messages), 40):
            pending = messages[start : start + 40]
            for _ in range(40):
                pending = deliver(faulty, pending)
                if not pending:
                    break
            deliver(store, pending)

    threads = [threading.Thread(target=consume, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong(store, world) == []
    assert len(list(store.scan(Table.EVENTS))) == len(world.events)


def _subscribed() -> tuple[StripeWorld, list[int]]:
    """Customer, link, subscription, invoices: what one customer's first second holds."""
    world, _, price = company()
    world.change_quantity(world.subscribe(world.customer("ws"), [(price, 1)]), 4)
    return world, list(range(len(world.events)))


def _linked_late() -> tuple[StripeWorld, list[int]]:
    """The session that links comes with one half, some of the subscription's events with the other."""
    world, _, price = company()
    subscription = world.checkout("ws", [(price, 2)])
    world.change_quantity(subscription, 3)
    return world, list(range(len(world.events)))


def _moved() -> tuple[StripeWorld, list[int]]:
    """A customer of two workspaces, one after the other, and a catalog that changes meanwhile."""
    world, product, price = company()
    customer = world.customer("ws_old")
    subscription = world.subscribe(customer, [(price, 2)])
    world.advance(timedelta(seconds=3))
    world.update(customer, metadata={"workspace_id": "ws"})
    world.update(product, metadata={"limit_api_calls": "7"})
    world.change_quantity(subscription, 5)
    return world, list(range(len(world.events)))


@pytest.mark.parametrize("history", [_subscribed, _linked_late, _moved])
@pytest.mark.parametrize("seed", range(3))
def test_a_twin_between_any_two_calls(dynamodb: Any, history: Any, seed: int) -> None:
    """Another consumer takes the other half just before the n-th call of the first: nobody's evidence is lost."""
    world, order = history()
    random.Random(seed).shuffle(order)
    half = len(order) // 2
    mine, others = ([world.events[n] for n in part] for part in (order[:half], order[half:]))
    reference = new_store(dynamodb)
    play(reference, world.events)

    for number in range(1, 12):
        store = new_store(dynamodb)

        def twin(_name: str, call: int, landed: bool, store: Store = store, number: int = number) -> None:
            if call == number and not landed:
                play(store, others)

        faulty = FaultyStore(store, twin)
        results = play(faulty, mine)
        if faulty.calls < number:
            break

        assert outcomes(results) == {Outcome.ACCEPTED}
        assert wrong(store, world) == []
        assert _inhabited(store) == _inhabited(reference)


def _link_meets_subscription() -> tuple[StripeWorld, list[int], list[int]]:
    """The session that links, and everything of the customer: no item in common but the link and the record."""
    world, _, price = company()
    world.checkout("ws", [(price, 2)])
    return world, list(range(2, len(world.events) - 1)), [len(world.events) - 1]


def _product_meets_subscription() -> tuple[StripeWorld, list[int], list[int]]:
    """A subscription begins to use a product that changes."""
    world, product, price = company()
    world.update(product, metadata={"limit_api_calls": "7"})
    changed = len(world.events) - 1
    world.subscribe(world.customer("ws"), [(price, 2)])
    return world, list(range(changed + 1, len(world.events))), [changed]


def _move_meets_change() -> tuple[StripeWorld, list[int], list[int]]:
    """A customer moves to another workspace while its subscription changes."""
    world, _, price = company()
    customer = world.customer("ws_old")
    subscription = world.subscribe(customer, [(price, 2)])
    before = len(world.events)
    world.advance(timedelta(seconds=3))
    world.change_quantity(subscription, 5)
    world.update(customer, metadata={"workspace_id": "ws"})
    return world, [before], [before + 1]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("history", [_link_meets_subscription, _product_meets_subscription, _move_meets_change])
def test_a_twin_with_other_registers(dynamodb: Any, history: Any, swapped: bool) -> None:
    """What two consumers must agree on without a register in common: links, homes, catalog."""
    world, mine, others = history()
    mine, others = (others, mine) if swapped else (mine, others)
    before = [n for n in range(len(world.events)) if n not in {*mine, *others}]
    reference = new_store(dynamodb)
    play(reference, world.events)

    for number in range(1, 12):
        store = new_store(dynamodb)
        play(store, [world.events[n] for n in before])

        def twin(_name: str, call: int, landed: bool, store: Store = store, number: int = number) -> None:
            if call == number and not landed:
                play(store, [world.events[n] for n in others])

        results = play(FaultyStore(store, twin), [world.events[n] for n in mine])

        assert outcomes(results) == {Outcome.ACCEPTED}
        if len(list(store.scan(Table.EVENTS))) == len(world.events):  # the twin's turn has come
            assert _inhabited(store) == _inhabited(reference)


def _inhabited(store: Store) -> dict[str | None, Any]:
    """A workspace whose customer has left keeps an empty record, if it ever had the customer."""
    return {workspace: record for workspace, record in records(store).items() if record["customers"]}


# ---------------------------------------------------------------------- links


def test_a_link_may_come_after_everything(store: Store) -> None:
    """A customer without a workspace waits visibly; its Checkout session moves all of it to the workspace."""
    world, _, price = company()
    world.checkout("ws", [(price, 2)])
    *before, session = world.events
    play(store, before)
    waiting = records(store)

    play(store, [session])

    assert waiting[None]["status"] == "active"
    assert (set(records(store)), records(store)["ws"]["limits"]) == ({"ws"}, {"api_calls": 2000})


def test_links_that_contradict_end_the_same(dynamodb: Any) -> None:
    """The customer's metadata beats the session's reference and a subscription's, in any order."""
    world, _, price = company()
    customer = world.customer()
    world.update(world.subscribe(customer, [(price, 1)]), metadata={"workspace_id": "ws_sub"})
    world.advance(timedelta(seconds=9))
    world.update(customer, metadata={"workspace_id": "ws_customer"})
    found = []
    for seed in range(6):
        store = new_store(dynamodb)
        play(store, scrambled(world, seed), batch=4)
        found.append({ws: r["subscription"] for ws, r in records(store).items() if r["customers"]})

    assert set(found[0]) == {"ws_customer"}
    assert all(one == found[0] for one in found)


def test_several_customers_of_a_workspace(store: Store) -> None:
    """One record folds both; an ended subscription of one does not end the other's access."""
    world, _, price = company()
    first = world.subscribe(world.customer("ws"), [(price, 1)])
    second = world.subscribe(world.customer("ws"), [(price, 5)])
    world.cancel(first)

    play(store, scrambled(world, 1), batch=9)

    record = records(store)["ws"]
    assert (len(record["customers"]), record["subscription"], record["seats"]) == (2, second, 5)


def test_live_and_test_never_mix(store: Store) -> None:
    """The same workspace in both modes: the live one counts, whichever came last."""
    live, _, live_price = company(1, livemode=True)
    live.subscribe(live.customer("ws"), [(live_price, 7)])
    test, _, test_price = company(2)
    test.subscribe(test.customer("ws"), [(test_price, 1)])

    play(store, [*live.events, *test.events])

    assert records(store)["ws"]["seats"] == 7


# ---------------------------------------------------------------------- catalog


@pytest.mark.parametrize("seed", range(4))
def test_a_later_catalog_change_reaches_the_record(store: Store, seed: int) -> None:
    """Product metadata changed after the subscription: the limits follow, in any order."""
    world, product, price = company(seed)
    world.subscribe(world.customer("ws"), [(price, 2)])
    world.advance(timedelta(days=1))
    world.update(product, metadata={"limit_api_calls": "50"})
    world.update(price, metadata={"limit_exports": "unlimited"})

    play(store, scrambled(world, seed), batch=5)

    assert records(store)["ws"]["limits"] == {"api_calls": 50, "exports": None}


def test_dying_between_a_product_and_its_users(store: Store, dynamodb: Any) -> None:
    """The event comes again as a duplicate, and its users are folded all the same."""
    world, product, price = company()
    world.subscribe(world.customer("ws"), [(price, 2)])
    before = len(world.events)
    world.advance(timedelta(days=1))
    world.update(product, metadata={"limit_api_calls": "50"})
    change = bodies(world.events[before:])
    for call in range(1, 9):
        for landed in (False, True):
            other = new_store(dynamodb)
            play(other, world.events[:before])
            deliver(other, deliver(FaultyStore(other, dies_at(call, landed=landed)), change))

            assert records(other)["ws"]["limits"] == {"api_calls": 50}


# ---------------------------------------------------------------------- what else arrives


def test_what_is_no_event_is_kept_with_its_reason(store: Store, objects: Any) -> None:
    """A wrong shape is rejected alone; its neighbours pass."""
    world, _, _ = company()
    good = world.events[0]
    wrong_mode = {**world.events[1], "id": "evt_mode", "livemode": True}
    messages = [
        Message("a", "not json"),
        Message("b", envelope(good, source="nilometer.webhook")),
        Message("c", envelope({**good, "id": "evt_x", "data": {"object": "?"}}, source="nilometer.webhook")),
        Message("d", envelope(wrong_mode, source="nilometer.webhook")),
    ]

    results = billing.handle(messages, store=store, objects=objects, now=NOW)

    assert [result.outcome for result in results] == [
        Outcome.REJECTED,
        Outcome.ACCEPTED,
        Outcome.REJECTED,
        Outcome.REJECTED,
    ]
    kept = {item["reason"] for item in store.scan(Table.EVENTS, kind="reject")}
    assert kept == {"invalid_schema", "wrong_mode"}


def test_an_unknown_type_is_a_fact(store: Store) -> None:
    """A type that Stripe invents tomorrow is kept and counted, never an error."""
    world, _, _ = company()
    future = {
        **world.events[0],
        "id": "evt_future",
        "type": "papyrus.unrolled",
        "data": {"object": {"object": "scroll"}},
    }

    assert outcomes(play(store, [future])) == {Outcome.ACCEPTED}


def test_the_partner_source_arrives_at_the_same_place(store: Store) -> None:
    """Stripe's own EventBridge source and the webhook deliver one event: one fact."""
    world, _, _ = company()
    source = "aws.partner/stripe.com/ed_test_1"
    bodies_ = [envelope(world.events[0], source=source), envelope(world.events[0], source="nilometer.webhook")]

    results = billing.handle(
        [Message(str(n), body) for n, body in enumerate(bodies_)], store=store, objects=OBJECTS, now=NOW
    )

    assert [result.outcome for result in results] == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert [fact["source"] for fact in store.scan(Table.EVENTS)] == ["partner"]


def test_a_claim_is_fetched(store: Store, objects: Any) -> None:
    """An event too large for the bus rests in S3; its effect is the same."""
    world, _, _ = company()
    body = envelope(world.events[0])
    claim = objects.put("claims", body.partition('"detail": ')[2][:-1].encode())
    reference = {name: world.events[0][name] for name in ("id", "type", "object", "created")} | {"claim": claim}

    results = billing.handle(
        [Message("1", envelope(reference, source="nilometer.webhook"))], store=store, objects=objects, now=NOW
    )

    assert outcomes(results) == {Outcome.ACCEPTED}
    assert [o["object"] for o in reading.list_objects(store)] == ["product"]


def test_many_events_of_one_customer_in_one_batch(store: Store) -> None:
    """More than one transaction holds: still each once, and true."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    chance = random.Random(3)
    for _ in range(150):
        world.advance(timedelta(seconds=chance.randint(0, 2)))
        world.change_quantity(subscription, chance.randint(1, 50))

    play(store, scrambled(world, 2), batch=400)

    assert wrong(store, world) == []


def test_a_link_may_bring_more_than_a_transaction_holds(store: Store) -> None:
    """Forty prices of forty products begin to be used at once."""
    world = StripeWorld(START)
    prices = [world.price(world.product(f"P{n}", {"limit_calls": "1"}), 100) for n in range(40)]
    customer = world.customer()
    subscriptions = [world.subscribe(customer, [(price, 1) for price in prices[n : n + 10]]) for n in (0, 10, 20, 30)]
    world.advance(timedelta(seconds=9))
    world.update(customer, metadata={"workspace_id": "ws"})

    play(store, world.events)

    assert wrong(store, world) == []
    assert {s["id"] for s in records(store)["ws"]["subscriptions"]} == set(subscriptions)


def test_an_object_can_be_explained(store: Store) -> None:
    """By its id alone."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)

    [told] = reading.explain_object(store, subscription)

    assert (told["object"], told["rule"], told["state"]["status"]) == ("subscription", "walk", "active")


class Keyed(Store):
    """The same table, which nobody may scan."""

    def __init__(self, store: Store) -> None:
        self.__dict__.update(store.__dict__)

    def scan(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the whole table was read")


def test_what_is_of_somebody_is_found_by_keys(store: Store) -> None:
    """What lies with a customer, of one or of a workspace's; each object as a scan finds it."""
    world, _, price = company()
    customers = [world.customer(name) for name in ("ws", "other")]
    subscription, _ = (world.subscribe(customer, [(price, 1)]) for customer in customers)
    play(store, world.events)
    keyed, known = Keyed(store), list(reading.list_objects(store))
    own = [o["id"] for o in known if o["object"] in OWNED and customers[0] in {o["id"], o["customer"]}]

    for registers in (whose.registers_of_customer(keyed, customers[0]), whose.registers_of_workspace(keyed, "ws")):
        found = list(map(object_of, registers))
        assert sorted(o["id"] for o in found) == sorted(own)
        assert all(o in known for o in found)
    for name in {o["id"] for o in known if o["object"] not in OWNED} | {subscription, customers[0]}:
        told = whose.explained(keyed, name, whose.registers_of_workspace(keyed, "ws"))
        assert told == list(reading.explain_object(store, name)) != []
        assert told == whose.explained(keyed if name != subscription else store, name)
    assert whose.explained(keyed, subscription, whose.registers_of_workspace(keyed, "other")) == []
    assert whose.explained(keyed, price, account="acct_1") == []
    assert list(whose.registers_of_workspace(keyed, "nobody")) == []


# ---------------------------------------------------------------------- a product that many use


def used_by(store: Store, count: int) -> tuple[StripeWorld, str, int]:
    """A product in `count` records: (world, product, events so far)."""
    world, product, price = company()
    for number in range(count):
        world.subscribe(world.customer(f"ws_{number}"), [(price, 1)])
    play(store, world.events)
    catalog.resume(store, now=world.now)
    world.advance(timedelta(days=1))
    world.update(product, metadata={"limit_api_calls": "50"})
    return world, product, len(world.events) - 1


def limits(store: Store) -> list[Any]:
    return [record["limits"].get("api_calls") for record in records(store).values()]


def test_a_change_is_folded_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that takes it does the first page and not more; the schedule resumes after it, and then nothing is
    left."""
    monkeypatch.setattr(catalog, "PAGE", 5)
    world, _, change = used_by(store, 12)
    before = store.requests

    results = play(store, world.events[change:])
    spent, first = store.requests - before, limits(store).count(50)
    resumed = catalog.resume(store, now=world.now)

    assert outcomes(results) == {Outcome.ACCEPTED}
    assert (first, limits(store).count(50), resumed) == (5, 12, 1)
    assert spent <= 10
    assert list(store.query_index("REFOLD")) == []


def test_a_fold_that_dies_goes_on_after_its_last_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any call, any number of times; a product that changes again meanwhile is folded from the first user on."""
    monkeypatch.setattr(catalog, "PAGE", 5)
    world, product, change = used_by(store, 12)
    play(store, world.events[change:])

    for call in range(1, 9):
        faulty: Any = FaultyStore(store, dies_at(call, landed=call % 2 == 0))
        with contextlib.suppress(Killed):
            catalog.resume(faulty, now=world.now)
        if call == 4:
            world.update(product, metadata={"limit_api_calls": "70"})
            play(store, world.events[-1:])
    catalog.resume(store, now=world.now)

    assert limits(store) == [70] * 12
    assert list(store.query_index("REFOLD")) == []


def test_a_fold_out_of_time_stops_between_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left waits for the next run."""
    monkeypatch.setattr(catalog, "PAGE", 5)
    world, _, change = used_by(store, 12)
    play(store, world.events[change:])
    times = iter([False, False, True])

    assert catalog.resume(store, now=world.now, out_of_time=lambda: next(times, True)) == 0
    assert limits(store).count(50) == 10
    assert catalog.resume(store, now=world.now) == 1


def test_a_page_of_a_fold_reads_its_users_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a megabyte of the ten thousand that there may be, with each event of the product."""
    monkeypatch.setattr(catalog, "PAGE", 5)
    world, _, change = used_by(store, 12)
    read: list[int] = []
    events = store._client.meta.events
    events.register("after-call.dynamodb.Query", lambda parsed, **_: read.append(parsed["Count"]), unique_id="read")

    try:
        play(store, world.events[change:])
    finally:
        events.unregister("after-call.dynamodb.Query", unique_id="read")

    assert read == [5, 5]  # the second says that there are more

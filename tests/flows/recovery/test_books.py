"""The books say what the registers say, whatever way an object came and in whatever order."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.events.versions import VERSIONS, as_sent
from tests.support.flows.billing_play import PLAYED_AT, play
from tests.support.flows.company import company
from tests.support.lake.books import FIRST_KNOWN, Books
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.books import REGISTER, book_rows
from nilometer.domain.recovery.verification import DifferenceKind
from nilometer.domain.store.writes import Key, Put, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.register import Register, merge, of_answer, register, register_key, register_of
from nilometer.domain.stripe.registers.resolve import register_item, resolve
from nilometer.flows.recovery.rebuild import restore
from nilometer.lake.read.recipes import RECIPES


@pytest.fixture
def books(store: Store, objects: Objects, tmp_path: Path) -> Books:
    return Books(store, objects, tmp_path / "lake")


@pytest.mark.parametrize("seed", range(3))
def test_books_are_registers_in_any_order(books: Books, seed: int) -> None:
    """Shuffled, with duplicates: the current rows are the registers, field by field."""
    world, _, price = company(seed)
    chance = random.Random(seed)
    for name in ("acme", "globex"):
        subscription = world.subscribe(world.customer(name), [(price, 3)])
        world.advance(timedelta(days=3))
        world.change_quantity(subscription, 5)
        world.advance(timedelta(days=28))
        world.renew(subscription)
        world.fail_payment(subscription)
    events = world.events + chance.choices(world.events, k=len(world.events) // 3)
    chance.shuffle(events)

    for start in range(0, len(events), 12):
        play(books.store, events[start : start + 12])
        books.relay()
    report = books.check()

    assert report.ok, report.differences
    assert report.compared > 5


def test_money_and_items_are_columns(books: Books) -> None:
    """What an analyst adds up needs no JSON of an event."""
    world, _, price = company()
    world.checkout("acme", [(price, 3)])
    play(books.store, world.events)
    books.relay()

    [(status, items)] = books.ask("select status, items from subscriptions")
    [item] = json.loads(items)
    assert (status, item["unit_amount"], item["currency"], item["interval"], item["quantity"]) == (
        "active",
        4900,
        "usd",
        "month",
        3,
    )
    assert books.ask("select currency, total, amount_paid, status from invoices") == [("usd", 14700, 14700, "paid")]
    assert books.ask("select unit_amount, interval from prices") == [(4900, "month")]


def answered(books: Books, snapshot: dict[str, Any] | None, *, second: int, object_id: str = "sub_old") -> None:
    """What backfill, reconcile and refetch write."""
    element = of_answer(snapshot, object_type="subscription", object_id=object_id, second=second)
    key = register_key(Scope(), "subscription", object_id, "cus_old")
    stored = books.store.get(Table.RECORDS, key)
    known = merge(register_of(stored) if stored else Register(), register([element]))
    resolution = resolve(known)
    assert resolution
    version = int(stored["version"]) + 1 if stored else 1
    item = register_item(
        key, known, resolution, scope=Scope(), version=version, cause="refetch", updated_at="2026-11-29T00:00:00.000Z"
    )
    books.store.commit([Put(table=Table.RECORDS, item=item)])


OLD = {
    "id": "sub_old",
    "object": "subscription",
    "status": "active",
    "customer": "cus_old",
    "items": {
        "data": [
            {
                "id": "si_1",
                "quantity": 2,
                "price": {"id": "price_1", "unit_amount": 4900, "currency": "eur", "recurring": {"interval": "month"}},
            }
        ]
    },
}


def test_what_is_only_backfilled_is_in_the_books(books: Books) -> None:
    """No event of it ever came; and what reconcile finds gone is gone."""
    answered(books, OLD, second=1_795_000_000)
    books.relay()
    assert books.ask("select object_id, status, origin, deleted from subscriptions") == [
        ("sub_old", "active", "api", False)
    ]

    answered(books, None, second=1_795_000_100)
    books.relay()
    assert books.ask("select deleted from subscriptions_history order by sequence_number") == [(False,), (True,)]
    assert books.ask("select deleted from subscriptions") == [(True,)]
    assert books.check().ok


def test_recurring_revenue_knows_what_no_event_told(books: Books) -> None:
    """Three subscriptions of 200 days ago that only backfill saw, and one with events that reconcile found gone."""
    world, _, price = company()
    world.subscribe(world.customer("acme"), [(price, 3)])
    told = [event for event in world.events if event["type"].startswith("customer.subscription.")]
    play(books.store, told)
    books.relay(facts=True)
    gone = told[0]["data"]["object"]["id"]
    later = told[-1]["created"] + 60
    for number in range(3):
        answered(
            books,
            {**OLD, "id": f"sub_{number}", "created": later - 200 * 86_400},
            second=later,
            object_id=f"sub_{number}",
        )
    answered(books, None, second=later, object_id=gone)
    books.relay()

    assert books.ask(RECIPES["mrr"].sql) == [("eur", 29_400, 3), ("usd", 0, 0)]
    moved = {(str(row[0])[:7], *row[1:]) for row in books.ask(RECIPES["mrr-movement"].sql)}
    assert moved == {
        ("2026-04", "eur", "new", 29_400, 3),
        ("2026-11", "usd", "new", 14_700, 1),
        ("2026-11", "usd", "churn", -14_700, 1),
    }


def _event_row(event: dict[str, Any]) -> dict[str, Any]:
    made = event["data"]["object"]
    when = datetime.fromtimestamp(event["created"], UTC).isoformat()
    return {
        "event_id": event["id"],
        "type": event["type"],
        "account": "self",
        "livemode": False,
        "created": event["created"],
        "created_at": when,
        "object_type": made["object"],
        "object_id": made["id"],
        "customer_id": made["customer"],
        "source": "webhook",
        "received_at": when,
        "payload": event,
    }


def test_revenue_counts_an_invoice_once(books: Books) -> None:
    """Told by an event and by the books, or by the books alone."""
    world, _, price = company()
    world.subscribe(world.customer("acme"), [(price, 3)])
    paid = [event for event in world.events if event["type"] == "invoice.paid"]
    books.append("stripe_events", list(map(_event_row, paid)))
    play(books.store, world.events)
    books.relay()
    assert books.ask(RECIPES["revenue"].sql) == [(date(2026, 11, 1), "usd", 14_700, 1)]


def test_what_was_known_is_asked_again(books: Books) -> None:
    """As of a time, as known at another: rows are never changed, so the answer never changes."""
    answered(books, OLD, second=1_795_000_000)
    books.relay()
    before = books.ask("select * from subscriptions_history")
    answered(books, {**OLD, "status": "past_due"}, second=1_795_000_500)
    books.relay()

    known = FIRST_KNOWN + 1
    sql = f"select status from subscriptions_history where known_at <= to_timestamp({known})"  # noqa: S608  # a number
    assert books.ask(sql) == [("active",)]
    assert books.ask("select * from subscriptions_history order by sequence_number limit 1") == before


def test_an_answer_that_says_nothing_new_is_no_row(books: Books) -> None:
    """A nightly comparison of a million objects must not be a million rows."""
    answered(books, OLD, second=1_795_000_000)
    books.relay()
    item = next(iter(books.store.scan(Table.RECORDS, kind=REGISTER)))
    books.store.commit([Put(table=Table.RECORDS, item={**item, "version": 9})])
    books.relay()

    assert books.ask("select count(*) from subscriptions_history") == [(1,)]


def test_verify_says_object_and_field(books: Books) -> None:
    """A row that was not written by a register's change is found."""
    answered(books, OLD, second=1_795_000_000)
    books.relay()
    register = next(iter(books.store.scan(Table.RECORDS, kind=REGISTER)))
    row = dict(book_rows(books.change(Table.RECORDS, Key("a", "b"), None, register)))["subscriptions_history"]
    books.append("subscriptions_history", [row | {"status": "canceled", "sequence_number": "9" * 40}])

    [found, lost] = books.check().differences
    assert (lost.kind, lost.key[0], lost.key[-1]) == (
        DifferenceKind.MISSING_IN_LAKE,
        "subscription.items",
        "sub_old/si_1",
    )
    assert (found.kind, found.key[-1], found.fields) == (DifferenceKind.DIFFERENT, "sub_old", ("status",))
    assert (found.table["status"], found.lake["status"]) == ("active", "canceled")


def test_nobody_is_named_in_the_books(books: Books) -> None:
    """A register keeps nothing personal, and a book only what it names."""
    snapshot = {**OLD, "metadata": {"workspace_id": "ws_1", "contact": "Zoe"}, "description": "for zoe@example.com"}
    answered(books, snapshot, second=1_795_000_000)
    books.relay()

    assert "oe" not in json.dumps(books.ask("select * from subscriptions_history"), default=str)


def test_what_was_so_does_not_depend_on_the_order_of_arrival(books: Books) -> None:
    """An event that comes late changes no register, and its snapshot is a row all the same."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("acme"), [(price, 3)])
    world.advance(timedelta(days=3))
    world.change_quantity(subscription, 5)
    told = [event for event in world.events if event["data"]["object"].get("id") == subscription]
    for event in reversed(told):
        play(books.store, [event])
        books.relay(facts=True)

    asked = """select valid_from::date, quantity from subscription_items_history
               where origin = 'snapshot' group by all order by all"""
    assert books.ask(asked) == [(date(2026, 11, 1), 3), (date(2026, 11, 4), 5)]
    assert books.ask("select quantity from subscription_items") == [(5,)]
    assert books.check().ok


def test_a_snapshot_names_the_state_as_a_register_does(books: Books) -> None:
    """So a walk within one second can be followed in SQL: equal states, equal digests."""
    world, _, price = company()
    world.checkout("acme", [(price, 3)])
    play(books.store, world.events)
    books.relay(facts=True)

    unknown = """select object_id from subscriptions where digest not in (
                 select digest from subscriptions_history where origin = 'snapshot')"""
    assert books.ask("select count(*) from subscriptions") == [(1,)]
    assert books.ask(unknown) == []
    assert books.ask("select amount, quantity, proration from invoice_lines") == [(14_700, 3, None)]


@pytest.mark.parametrize("versions", [["2024-06-20"], VERSIONS], ids=["one version", "mixed"])
def test_lines_of_invoices_in_every_api_version(books: Books, versions: list[str]) -> None:
    """What a line is for, in events of one version or of several, in any order, twice: as in today's version."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("acme"), [(price, 3)])
    world.advance(timedelta(days=31))
    world.renew(subscription)
    chance = random.Random(len(versions))
    events = [as_sent(event, chance.choice(versions)) for event in world.events for _ in range(2)]
    chance.shuffle(events)
    for start in range(0, len(events), 9):
        play(books.store, events[start : start + 9])
        books.relay(facts=True)

    item = world.objects[subscription]["items"]["data"][0]
    [product] = {one["id"] for one in world.objects.values() if one["object"] == "product"}
    told = (price, product, subscription, item["id"])
    asked = "select price_id, product_id, subscription_id, subscription_item_id from invoice_lines"
    assert books.ask(asked) == [told, told]
    assert books.ask(f"{asked}_history where origin = 'snapshot' group by all") == [told]
    assert books.check().ok


def test_a_restored_stack_keeps_the_books(books: Books, dynamodb: Any) -> None:
    """Its tables are others, whose streams begin with smaller numbers: the newest state is still what counts."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("acme"), [(price, 3)])
    play(books.store, world.events)
    books.relay(facts=True)
    restored = new_store(dynamodb)
    for _ in restore(books.store, restored, now=PLAYED_AT):
        pass
    books.go_on_in(restored)
    books.relay(facts=True)
    assert books.check().ok

    told = len(world.events)
    world.advance(timedelta(days=3))
    world.change_quantity(subscription, 5)
    play(restored, world.events[told:])
    books.relay(facts=True)

    assert books.ask("select quantity from subscription_items") == [(5,)]
    assert books.check().ok


def test_a_coupon_is_exact(books: Books) -> None:
    """Percents are decimals in the lake, and texts in a register: never floating point."""
    world, *_ = company()
    coupon = {"id": "c1", "object": "coupon", "percent_off": 12.5, "duration": "forever", "created": world.second}
    world.emit("coupon.created", coupon)
    play(books.store, world.events)
    books.relay(facts=True)

    assert books.ask("select percent_off, duration from coupons") == [(Decimal("12.5"), "forever")]
    assert books.check().ok

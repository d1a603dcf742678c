"""The nightly comparison ends: stopped after any page, it goes on there, and finds what a whole run would."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import PLAYED_AT, play, wrong
from tests.support.flows.company import company
from tests.support.stores.memory import MemoryStore

from nilometer.domain.billing.coverage import TypePass
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.billing import coverage as reconcile_coverage
from nilometer.flows.billing.coverage import accounts_of, cover, coverage, reconcile_due
from nilometer.flows.billing.reconcile import LISTED, ReconcileReport
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api import client as stripe_client
from nilometer.stripe_api.client import StripeApi

SCOPE = Scope()
NIGHT = PLAYED_AT
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small account has many."""
    monkeypatch.setattr(stripe_client, "PAGE", 2)


@pytest.fixture
def world() -> StripeWorld:
    """Of a product, a price and seven customers, one of whom is gone."""
    made, _, price = company()
    for name in range(7):
        made.subscribe(made.customer(f"ws_{name}"), [(price, 1 + name)])
        made.advance(timedelta(seconds=3))
    return made


@pytest.fixture
def api(world: StripeWorld) -> Iterator[StripeApi]:
    with serve(world) as (url, _):
        yield StripeApi("sk_test_fake", base_url=url, requests_per_second=5000)


def nights(store: MemoryStore, api: StripeApi) -> list[ReconcileReport]:
    """Runs that are stopped after each page, until nothing is left."""
    done: list[ReconcileReport] = []
    while not done or done[-1].stopped:
        now = NIGHT + len(done) * timedelta(minutes=1)
        done.append(reconcile_due(store, api, scope=SCOPE, now=now, out_of_time=lambda: True))
        assert len(done) < 200
    return done


def test_stopped_after_each_page_it_ends(world: StripeWorld, api: StripeApi) -> None:
    """What no event told, what Stripe deleted, what was lost: all of it is found, by runs of one page."""
    lost = next(id_ for id_, one in world.objects.items() if one["object"] == "customer")
    store = MemoryStore()
    play(store, world.events[: len(world.events) // 2])
    world.objects[lost] = {"id": lost, "object": "customer", "deleted": True}
    world.advance(timedelta(minutes=5))

    done = nights(store, api)

    assert len(done) > 20
    assert wrong(store, world) == []
    assert {one.object_type for one in coverage(store, SCOPE) if one.covered_at} == set(LISTED)
    assert list(store.query(Table.EVENTS, "RECONCILE#self#test", prefix="SEEN#")) == []


@pytest.mark.parametrize("kept_after", [1, 500])
def test_prices_that_no_plain_list_has_do_not_keep_it_from_ending(
    kept_after: int, world: StripeWorld, api: StripeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archived prices have a list of their own; inline ones have none, and each is asked for in one run alone."""
    monkeypatch.setattr(reconcile_coverage, "ASKED", kept_after)
    price = next(one for one in world.objects.values() if one["object"] == "price")
    others = [world.create({**price, "id": f"price_{n}", "active": n < 6}) for n in range(11)]
    world.inline |= set(others[:6])
    world.advance(timedelta(minutes=5))
    store = MemoryStore()
    play(store, world.events)
    fetched: list[str] = []
    fetch = StripeApi.fetch
    monkeypatch.setattr(StripeApi, "fetch", lambda api, kind, id_: (fetched.append(id_), fetch(api, kind, id_))[1])

    nights(store, api)

    assert sorted(fetched) == sorted(others[:6])
    [prices] = [one for one in coverage(store, SCOPE) if one.object_type == "price"]
    assert (prices.covered_at is not None, prices.compared) == (True, 6)
    assert wrong(store, world) == []
    assert list(store.query(Table.EVENTS, "RECONCILE#self#test", prefix="SEEN#")) == []


def test_a_price_that_is_gone_is_no_place_to_go_on(api: StripeApi) -> None:
    """Refused, so that the list begins again."""
    with pytest.raises(Rejected, match="price_gone"):
        next(iter(api.pages("price", "price_gone")))


def test_what_is_covered_rests_until_the_next_night(world: StripeWorld, api: StripeApi) -> None:
    """An hour later nothing is asked; a day later everything is."""
    store = MemoryStore()
    play(store, world.events)
    first = reconcile_due(store, api, scope=SCOPE, now=NIGHT)
    asked = api.requests

    again = reconcile_due(store, api, scope=SCOPE, now=NIGHT + HOUR)
    assert (again.compared, api.requests) == (0, asked)
    assert reconcile_due(store, api, scope=SCOPE, now=NIGHT + 24 * HOUR).compared == first.compared > 20


def test_what_fails_goes_on_at_its_page(world: StripeWorld, api: StripeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that breaks in the middle is not begun again, and what was compared longest ago comes first."""
    store = MemoryStore()
    listed = StripeApi.pages

    def breaking(self: StripeApi, object_type: str, after: str | None = None, **params: Any) -> Iterator[Any]:
        for number, page in enumerate(listed(self, object_type, after, **params)):
            if object_type == "customer" and number == 1:
                raise Unavailable("Stripe did not answer")
            yield page

    monkeypatch.setattr(StripeApi, "pages", breaking)
    with pytest.raises(Unavailable):
        reconcile_due(store, api, scope=SCOPE, now=NIGHT)
    [half] = [one for one in coverage(store, SCOPE) if one.started_at and not one.listed]
    assert (half.object_type, half.pages) == ("customer", 1)

    monkeypatch.setattr(StripeApi, "pages", listed)
    reconcile_due(store, api, scope=SCOPE, now=NIGHT + HOUR)
    [whole] = [one for one in coverage(store, SCOPE) if one.object_type == "customer"]
    assert (whole.pages, whole.covered_at) == (4, half.started_at)


def test_a_page_whose_last_object_is_gone_begins_again(world: StripeWorld, api: StripeApi) -> None:
    """Stripe refuses to list after it."""
    store = MemoryStore()
    begun = TypePass(object_type="customer").begun(NIGHT).after_page("cus_gone", compared=2, drift=0)
    store.put_all(Table.EVENTS, [begun.item(SCOPE, updated_at="2028-01-01T00:00:00.000Z")])
    assert reconcile_due(store, api, scope=SCOPE, now=NIGHT).stopped is False
    assert wrong(store, world) == []


def test_of_twins_one_stops(world: StripeWorld, api: StripeApi) -> None:
    """Its page was merged already, and its progress is refused: the other one is further."""
    store = MemoryStore()
    commit = store.commit

    def overtaken(writes: Any) -> None:
        if any(write.item["kind"] == "reconcile_pass" for write in writes if hasattr(write, "item")):
            raise Cancelled(["version"])
        commit(writes)

    store.commit = overtaken  # type: ignore[method-assign]
    assert reconcile_due(store, api, scope=SCOPE, now=NIGHT).stopped is True


def test_two_days_without_are_overdue() -> None:
    """From the first pass on; what the key may not read never is."""
    store = MemoryStore()
    assert not any(one.is_overdue(NIGHT) for one in coverage(store, SCOPE))
    cover(store, SCOPE, NIGHT, ReconcileReport(refused=["payout"]))
    late = [one.object_type for one in coverage(store, SCOPE) if one.is_overdue(NIGHT + 49 * HOUR)]
    assert sorted(late) == sorted(set(LISTED) - {"payout"})
    assert not any(one.is_overdue(NIGHT + 47 * HOUR) for one in coverage(store, SCOPE))
    running = TypePass(object_type="invoice").begun(NIGHT)
    assert (running.is_overdue(NIGHT + 47 * HOUR), running.is_overdue(NIGHT + 49 * HOUR)) == (False, True)


def test_accounts_are_looked_for_once_a_night(world: StripeWorld) -> None:
    """A scan of the table is not for every hour."""
    store = MemoryStore()
    assert accounts_of(store, SCOPE, NIGHT) == []
    play(store, [{**event, "account": "acct_1"} for event in world.events[:4]])
    assert accounts_of(store, SCOPE, NIGHT + HOUR) == []
    assert accounts_of(store, SCOPE, NIGHT + 21 * HOUR) == ["acct_1"]


def test_a_key_that_may_not_read_customers_compares_the_rest(world: StripeWorld) -> None:
    """Owners whom nobody knows are not asked for, and no other type is taken for one that it may not read."""
    store = MemoryStore()
    with serve(world) as (url, fake):
        fake.forbidden = {"customers"}
        key = StripeApi("rk_test_fake", base_url=url, requests_per_second=5000)
        report = reconcile_due(store, key, scope=SCOPE, now=NIGHT)

    compared = {one.object_type for one in coverage(store, SCOPE) if one.compared and not one.refused}
    assert report.refused == ["customer"]
    assert {"subscription", "invoice", "charge"} <= compared

"""Refetches beside what a key may not read, and of objects whose ids no URL takes as they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import play, records, wrong
from tests.support.flows.company import company

from nilometer.aws.dynamodb import Store
from nilometer.domain.stripe.event import Scope
from nilometer.errors import Misconfigured
from nilometer.flows.billing.coverage import reconcile_due
from nilometer.flows.billing.reconcile import reconcile
from nilometer.flows.billing.refetch import due, refetch_due
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api import client as stripe_client
from nilometer.stripe_api.client import StripeApi

SCOPE = Scope()
LIVE = Scope(livemode=True)


def api(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=500)


def notice(world: StripeWorld, object_type: str, object_id: str) -> dict[str, Any]:
    """A thin notification: the object changed, its webhook does not say how."""
    return {
        "id": world.new_id("evt"),
        "object": "v2.core.event",
        "type": f"v1.{object_type}.updated",
        "livemode": world.livemode,
        "created": world.now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "context": world.account,
        "related_object": {"id": object_id, "type": object_type, "url": "/v1/of/no/meaning"},
    }


def test_what_a_restricted_key_may_not_read_stops_nothing_else(store: Store) -> None:
    """The charges that it may not read wait longest, and are asked for once a run; the subscription is settled."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)
    charges = [one["id"] for one in world.objects.values() if one["object"] == "charge"]
    play(store, [notice(world, "charge", id_) for id_ in (*charges, "ch_2", "ch_3")])
    world.advance(timedelta(seconds=1))
    world.change_quantity(subscription, 4)
    play(store, [notice(world, "subscription", subscription)])
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, fake):
        fake.forbidden = {"charges"}
        asked = refetch_due(store, api(url), scope=SCOPE, now=world.now)

    assert [(one.object_type, one.outcome) for one in asked] == [
        ("charge", "NotPermitted"),
        ("subscription", "settled"),
    ]
    assert records(store)["ws"]["seats"] == 4
    assert (fake.requests, len(list(due(store, world.now)))) == (2, 3)


def test_a_detached_card_is_taken_from_its_customer(store: Store) -> None:
    """A thin notification does not say whose the card was, and the card itself says it no more."""
    world, _, price = company()
    customer = world.customer("ws")
    subscription = world.subscribe(customer, [(price, 1)])
    card = world.objects[customer]["invoice_settings"]["default_payment_method"]
    world.update(subscription, default_payment_method=card)
    play(store, world.events)
    assert records(store)["ws"]["payment_method"]["type"] == "card"
    world.advance(timedelta(seconds=1))
    world.detach(card)
    play(store, [notice(world, "payment_method", card)])
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, fake):
        asked = refetch_due(store, api(url), scope=SCOPE, now=world.now)
        again = reconcile(store, api(url), scope=SCOPE, now=world.now, object_types=["payment_method"])

    assert {one.outcome for one in asked} == {"settled"}
    assert "type" not in records(store)["ws"]["payment_method"]
    assert not again.drift
    assert (list(due(store, world.now)), fake.requests) == ([], 2)


@pytest.mark.parametrize("product", ["gold/monthly", "gold?", "gold#2", "50% more", "a b", "été"])
def test_an_id_that_people_chose_is_asked_for_as_it_is(store: Store, product: str) -> None:
    """A product's id may be chosen, with characters that mean something in a URL; nothing is taken for deleted."""
    world, made, _ = company()
    world.objects[product] = {**world.objects.pop(made), "id": product}
    world.events.clear()
    world.update(product, metadata={"plan": "gold"})
    price = world.price(product, 4900)
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, [*world.events, notice(world, "product", product)])
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        asked = refetch_due(store, api(url), scope=SCOPE, now=world.now)

    assert [(one.object_id, one.outcome) for one in asked] == [(product, "settled")]
    assert records(store)["ws"]["plan"] == "gold"


def test_a_url_that_stripe_does_not_know_says_nothing_of_an_object(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a 404 that says that the object is missing is a deletion."""
    world, product, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, [*world.events, notice(world, "product", product)])
    world.advance(timedelta(minutes=1))
    monkeypatch.setitem(stripe_client.COLLECTIONS, "product", "products/of/another/version")

    with serve(world) as (url, _):
        asked = refetch_due(store, api(url), scope=SCOPE, now=world.now)

    assert [one.outcome for one in asked] == ["stripe_refused"]
    assert records(store)["ws"]["plan"] == "papyrus"


@pytest.mark.parametrize("do", [reconcile, reconcile_due, refetch_due])
def test_a_key_of_another_account_deletes_nothing(store: Store, do: Callable[..., Any]) -> None:
    """It knows no object of ours: what it says of them is not taken for deletions, nor its objects for ours."""
    world, product, price = company(livemode=True)
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, [*world.events, notice(world, "product", product)])
    before = records(store)
    other, _, price = company(seed=1, livemode=True)
    other.subscribe(other.customer("ws"), [(price, 9)])
    for one in (world, other):
        one.advance(timedelta(minutes=1))

    with serve(other) as (url, _), pytest.raises(Misconfigured, match="of another account"):
        do(store, api(url), scope=LIVE, now=world.now)
    foreign = records(store)
    with serve(world) as (url, _):
        do(store, api(url), scope=LIVE, now=world.now)

    assert foreign == before
    assert records(store) == before


def test_customers_that_are_deleted_are_still_of_the_account(store: Store) -> None:
    """Stripe answers for them, so that a stack whose last customer has gone is compared."""
    world, product, price = company(livemode=True)
    customer = world.customer("ws")
    world.subscribe(customer, [(price, 1)])
    play(store, world.events)
    world.objects[product] = {"id": product, "object": "product", "deleted": True}
    world.delete_customer(customer)
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        reconcile(store, api(url), scope=LIVE, now=world.now)

    assert wrong(store, world) == []


def test_entitlements_of_a_deleted_customer_end_a_doubt(store: Store) -> None:
    """Its summary showed the first ten of twelve; Stripe refuses to list the rest, for there is no such customer."""
    world, _, price = company()
    customer = world.customer("ws")
    world.subscribe(customer, [(price, 1)])
    world.entitle(customer, [f"feature_{n}" for n in range(12)])
    play(store, world.events)
    world.advance(timedelta(minutes=1))
    world.objects[customer] = {"id": customer, "object": "customer", "deleted": True}

    with serve(world) as (url, _):
        refetch_due(store, api(url), scope=SCOPE, now=world.now)

    assert list(due(store, world.now + timedelta(hours=1))) == []

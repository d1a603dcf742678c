"""A lost event of each kind of object that Stripe lists: found as drift, repaired by merging, and then no drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.support.flows.billing_play import play, records, wrong
from tests.support.flows.company import company
from tests.support.flows.operations import NOW

from nilometer.aws.dynamodb import Store
from nilometer.domain.stripe.event import FEATURES, SUMMARY, Scope
from nilometer.errors import Misconfigured
from nilometer.flows.billing.reconcile import ReconcileReport, reconcile
from nilometer.flows.billing.refetch import due, refetch_due
from nilometer.local.stripe import schedules, troubles
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

SCOPE = Scope()


@dataclass
class Scene:
    """A workspace with a paid subscription; no event reports what `act` does to it."""

    world: StripeWorld
    price: str
    customer: str
    subscription: str

    @property
    def charge(self) -> str:
        return next(o["id"] for o in self.world.objects.values() if o["object"] == "charge")

    @property
    def card(self) -> str:
        return str(self.world.objects[self.customer]["invoice_settings"]["default_payment_method"])


def scene() -> Scene:
    world, _, price = company()
    customer = world.customer("ws")
    return Scene(world, price, customer, world.subscribe(customer, [(price, 1)]))


def api(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=500)


def night(store: Store, world: StripeWorld) -> ReconcileReport:
    world.advance(timedelta(minutes=1))
    with serve(world) as (url, _):
        return reconcile(store, api(url), scope=SCOPE, now=NOW)


Act = Callable[[Scene], Any]
LOST: dict[str, tuple[str, Act, Act, Callable[[dict[str, Any]], Any], Any]] = {
    # what is lost: (object type, what was told before, what is not told, field of the record, its true value)
    "schedule created": (
        "subscription_schedule",
        lambda _: None,
        lambda s: schedules.schedule(s.world, s.subscription, s.price, 7),
        lambda record: record["scheduled_change"]["items"][0]["quantity"],
        7,
    ),
    "schedule released": (
        "subscription_schedule",
        lambda s: schedules.schedule(s.world, s.subscription, s.price, 7),
        lambda s: schedules.release(s.world, one(s, "subscription_schedule")),
        lambda record: record["scheduled_change"],
        None,
    ),
    "entitlements": (
        SUMMARY,
        lambda _: None,
        lambda s: s.world.entitle(s.customer, [f"key{n:02}" for n in range(12)]),
        lambda record: len(record["features"]),
        12,
    ),
    "entitlements withdrawn": (
        SUMMARY,
        lambda s: s.world.entitle(s.customer, ["sso", "export"]),
        lambda s: s.world.entitle(s.customer, ["sso"]),
        lambda record: record["features"],
        ["sso"],
    ),
    "charge": (
        "charge",
        lambda _: None,
        lambda s: s.world.update(s.charge, amount_refunded=100),
        lambda record: record["risk"]["flag"],
        "refund",
    ),
    "dispute created": (
        "dispute",
        lambda _: None,
        lambda s: troubles.dispute(s.world, s.charge),
        lambda record: record["risk"]["open_disputes"],
        1,
    ),
    "dispute closed": (
        "dispute",
        lambda s: troubles.dispute(s.world, s.charge),
        lambda s: troubles.close_dispute(s.world, one(s, "dispute"), "lost"),
        lambda record: (record["risk"]["open_disputes"], record["risk"]["lost_disputes"]),
        (0, 1),
    ),
    "refund": (
        "refund",
        lambda _: None,
        lambda s: troubles.refund(s.world, s.charge, 100),
        lambda record: record["risk"]["refunded_charges"],
        1,
    ),
    "early fraud warning": (
        "radar.early_fraud_warning",
        lambda _: None,
        lambda s: troubles.warn_of_fraud(s.world, s.charge),
        lambda record: record["risk"]["flag"],
        "warning",
    ),
    "payment method detached": (
        "payment_method",
        lambda _: None,
        lambda s: s.world.detach(s.card),
        lambda record: record["payment_method"],
        None,
    ),
}


def one(scene: Scene, kind: str) -> str:
    [found] = [o["id"] for o in scene.world.objects.values() if o["object"] == kind]
    return str(found)


@pytest.mark.parametrize("lost", LOST)
def test_a_lost_event_of_each_kind(store: Store, lost: str) -> None:
    """Stripe is asked, the drift names the object's kind, the record is right, and the next run finds nothing."""
    kind, before, act, field, truth = LOST[lost]
    told = scene()
    before(told)
    told.world.advance(timedelta(seconds=9))
    play(store, told.world.events)
    assert {drift.object_type for drift in night(store, told.world).drift} <= {FEATURES}  # of which no event tells

    act(told)
    first, second = night(store, told.world), night(store, told.world)

    assert kind in {drift.object_type for drift in first.drift}
    assert (second.drift, wrong(store, told.world)) == ([], [])
    assert field(records(store)["ws"]) == truth


def test_a_lost_checkout_links_its_customer(store: Store) -> None:
    """Only the session names the workspace: until the nightly reconcile the customer stays unlinked."""
    world, _, price = company()
    world.checkout("ws", [(price, 2)])
    play(store, [event for event in world.events if event["type"] != "checkout.session.completed"])
    assert set(records(store)) == {None}

    night(store, world)

    assert (set(records(store)), records(store)["ws"]["seats"]) == ({"ws"}, 2)


def test_without_features_no_customer_is_asked_about(store: Store) -> None:
    """A request for each customer only where entitlements are used; who has none gets no register."""
    told = scene()
    play(store, told.world.events)
    told.world.advance(timedelta(minutes=1))
    with serve(told.world) as (url, fake):
        reconcile(store, api(url), scope=SCOPE, now=NOW, object_types=[SUMMARY])
        without = fake.requests
        told.world.entitle(told.world.customer(), ["sso"])
        told.world.advance(timedelta(minutes=1))
        report = reconcile(store, api(url), scope=SCOPE, now=NOW, object_types=[SUMMARY])

    assert (without, fake.requests - without) == (1, 4)  # features; and customers, and one each
    assert (report.compared, len(report.drift)) == (1, 1)


def test_a_shortened_list_of_entitlements_is_listed(store: Store) -> None:
    """The event shows ten of twelve and says that there are more."""
    told = scene()
    told.world.entitle(told.customer, [f"key{n:02}" for n in range(12)])
    play(store, told.world.events)
    shown = len(records(store)["ws"]["features"])
    told.world.advance(timedelta(minutes=1))

    with serve(told.world) as (url, _):
        refetch_due(store, api(url), scope=SCOPE, now=told.world.now)

    assert (shown, len(records(store)["ws"]["features"])) == (10, 12)
    assert list(due(store, told.world.now)) == []


def limits(store: Store) -> dict[str, Any]:
    return dict(records(store)["ws"]["limits"])


def test_features_bring_limits_with_them(store: Store) -> None:
    """Their metadata is asked for when a summary names one that was never listed, once; a nightly run sees a change."""
    told = scene()
    told.world.features = {"big": {"limit_calls": "500"}, "sso": {}}
    told.world.entitle(told.customer, ["big", "sso"])
    play(store, told.world.events)
    assert "calls" not in limits(store)
    told.world.advance(timedelta(minutes=1))
    with serve(told.world) as (url, fake):
        refetch_due(store, api(url), scope=SCOPE, now=told.world.now)
        assert (fake.requests, limits(store)["calls"]) == (1, 500)
        events = len(told.world.events)
        told.world.entitle(told.customer, ["sso"])
        told.world.entitle(told.world.customer("other"), ["big"])
        play(store, told.world.events[events:])
        assert ("calls" in limits(store), records(store)["other"]["limits"]) == (False, {"calls": 500})
        assert refetch_due(store, api(url), scope=SCOPE, now=told.world.now + timedelta(hours=1)) == []

    told.world.features["big"] = {"limit_calls": "700"}
    report = night(store, told.world)

    assert [(drift.object_type, drift.fields) for drift in report.drift] == [(FEATURES, ("features",))]
    assert records(store)["other"]["limits"] == {"calls": 700}
    assert night(store, told.world).drift == []


def test_what_a_restricted_key_may_not_read_is_named(store: Store) -> None:
    """The others are compared; what was not listed is not taken for deleted."""
    told = scene()
    play(store, told.world.events)
    told.world.change_quantity(told.subscription, 4)
    told.world.advance(timedelta(minutes=1))
    with serve(told.world) as (url, fake):
        fake.forbidden = {"charges", "products", "entitlements/features"}
        report = reconcile(store, api(url), scope=SCOPE, now=NOW)

    assert report.refused == ["product", FEATURES, "charge", SUMMARY]
    assert {drift.object_type for drift in report.drift} == {"subscription"}
    assert (wrong(store, told.world), records(store)["ws"]["seats"]) == ([], 4)


def test_a_key_that_may_read_nothing_is_an_error(store: Store) -> None:
    """Not a run that found no drift."""
    told = scene()
    with serve(told.world) as (url, fake):
        fake.forbidden = {"charges", "products"}
        with pytest.raises(Misconfigured, match="every type"):
            reconcile(store, api(url), scope=SCOPE, now=NOW, object_types=["product", "charge"])

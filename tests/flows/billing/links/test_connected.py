"""Connect accounts: an object is fetched in its account, with the same id elsewhere it is never mixed up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest
from tests.support.flows.billing_play import OBJECTS, PLAYED_AT, bodies, play
from tests.support.flows.company import company

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.link import Trust
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.refetch import request
from nilometer.domain.stripe.registers.resolve import REFETCH_INDEX
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing import reading
from nilometer.flows.billing.backfill import backfill_events, unknown_events
from nilometer.flows.billing.reconcile import reconcile
from nilometer.flows.billing.refetch import due, refetch_due
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

ACCOUNTS = {"self": None, "acct_reed": "acct_reed", "acct_palm": "acct_palm"}
SEATS = {"self": 5, "acct_reed": 6, "acct_palm": 7}


@pytest.fixture
def worlds(store: Store) -> dict[str, StripeWorld]:
    """The same ids in three accounts; of each subscription the last change was lost, so that it is in doubt."""
    made = {}
    for name, account in ACCOUNTS.items():
        world, _, price = company(seed=1, account=account)
        subscription = world.subscribe(world.customer("ws"), [(price, 1)])
        world.advance(timedelta(seconds=9))
        for quantity in (2, 3, SEATS[name]):
            world.change_quantity(subscription, quantity)
        lost = len(world.events) - 2
        play(store, [event for number, event in enumerate(world.events) if number != lost])
        world.advance(timedelta(seconds=30))
        made[name] = world
    return made


def api(url: str, account: str | None = None) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, account=account, requests_per_second=500)


def seats(store: Store) -> dict[str, int]:
    """By account, as its subscription's register says."""
    found = {}
    for item in reading.list_objects(store):
        if item["object"] == "subscription":
            found[item["account"]] = item["items"][0]["quantity"]
    return found


def test_each_object_is_fetched_in_its_account(store: Store, worlds: dict[str, StripeWorld]) -> None:
    """One key, three subscriptions of one id: each is what its own account says, and nothing stays due."""
    own, connected = worlds["self"], {name: worlds[name] for name in ("acct_reed", "acct_palm")}
    assert len({o["id"] for w in worlds.values() for o in w.objects.values() if o["object"] == "subscription"}) == 1

    with serve(own, connected=connected) as (url, fake):
        asked = refetch_due(store, api(url), scope=Scope(), now=own.now)

    assert {(one.account, one.outcome) for one in asked} == {(name, "settled") for name in ACCOUNTS}
    assert (seats(store), fake.requests) == (SEATS, 3)
    assert list(due(store, own.now + timedelta(hours=1))) == []


def test_an_account_that_refuses_the_key_stops_no_other(store: Store, worlds: dict[str, StripeWorld]) -> None:
    """It was disconnected: asked once a run, whatever is due of it; the others are settled."""
    own, thin = worlds["self"], {"livemode": False, "object": "v2.core.event", "context": "acct_palm"}
    notices = [
        {
            **thin,
            "id": f"evt_thin_{name}",
            "type": "v1.product.updated",
            "created": "2026-10-01T00:00:00.000Z",
            "related_object": {"id": name, "type": "product", "url": f"/v1/products/{name}"},
        }
        for name in ("prod_a", "prod_b")
    ]
    play(store, notices)
    now = own.now + timedelta(days=60)

    with serve(own, connected={"acct_reed": worlds["acct_reed"]}) as (url, fake):
        asked = refetch_due(store, api(url), scope=Scope(), now=now)

    outcomes = sorted((one.account, one.outcome) for one in asked)
    assert outcomes == [("acct_palm", "Misconfigured"), ("acct_reed", "settled"), ("self", "settled")]
    assert {item["account"] for item in due(store, now)} == {"acct_palm"}
    assert (fake.requests, len(list(due(store, now)))) == (3, 3)


def test_a_client_of_one_account_asks_for_no_other(store: Store, worlds: dict[str, StripeWorld]) -> None:
    """Its scope is the account alone."""
    own, reed = worlds["self"], worlds["acct_reed"]

    with serve(own, connected={"acct_reed": reed}) as (url, _):
        asked = refetch_due(store, api(url, "acct_reed"), scope=Scope(account="acct_reed"), now=own.now)

    assert [(one.account, one.outcome) for one in asked] == [("acct_reed", "settled")]
    assert {item["account"] for item in due(store, own.now)} == {"self", "acct_palm"}


def test_an_accounts_events_fill_it(store: Store, worlds: dict[str, StripeWorld]) -> None:
    """Its own list of events does not name it: they arrive as its own all the same."""
    own, reed = worlds["self"], worlds["acct_reed"]

    with serve(own, connected={"acct_reed": reed}) as (url, _):
        pages = backfill_events(api(url, "acct_reed"), partial(handle, store), since=0)
        new = sum(taken for _, taken in pages)

    assert (new, seats(store)["acct_reed"]) == (1, SEATS["acct_reed"])
    assert {item["account"] for item in due(store, own.now)} == {"self", "acct_palm"}


@pytest.mark.parametrize("context", [None, "acct_reed", "acct_org/acct_reed", "acct_org/"])
def test_a_dry_run_of_a_backfill_counts_what_it_would_take(store: Store, context: str | None) -> None:
    """Also of events whose account is in their context alone, and of those that would be rejected."""
    world, *_ = company()
    world.customer("ws")
    events = [{**event, "context": context} for event in world.events]
    counts = []
    for _ in range(2):
        counts.append(unknown_events(store, events, objects=OBJECTS, now=PLAYED_AT))
        counts.append([one.outcome for one in handle(store, bodies(events))].count(Outcome.ACCEPTED))

    assert counts == ([0] * 4 if context == "acct_org/" else [len(events)] * 2 + [0] * 2)


def test_the_fact_of_an_event_is_in_the_account_of_its_context(store: Store) -> None:
    """As whoever delivers it again looks for it."""
    event = {**company()[0].events[0], "context": "acct_org/acct_reed"}
    play(store, [event])

    found = store.get(Table.EVENTS, billing.fact_key(json.dumps(event).encode()))
    assert found
    assert found["account"] == "acct_reed"


def handle(store: Store, messages: Sequence[Message]) -> list[Result]:
    return billing.handle(messages, store=store, objects=OBJECTS, now=PLAYED_AT)


@pytest.mark.parametrize("do", ["reconcile", "refetch"])
@pytest.mark.parametrize("trusted", [True, False])
def test_what_stripe_answers_is_trusted_as_its_events_are(
    store: Store, worlds: dict[str, StripeWorld], do: str, trusted: bool
) -> None:
    """A nightly comparison or a refetch of an account that `BillingScopes` does not name links no workspace, and of
    one that it names it does."""
    own, reed = worlds["self"], worlds["acct_reed"]
    trust = Trust(frozenset({"acct_reed/test"} if trusted else {"self/test"}))
    connected = Scope(account="acct_reed")
    with serve(own, connected={"acct_reed": reed}) as (url, _):
        if do == "reconcile":
            reconcile(store, api(url, "acct_reed"), scope=connected, now=own.now, trust=trust)
        else:
            refetch_due(store, api(url, "acct_reed"), scope=connected, now=own.now, trust=trust)

    refused = {one["account"] for one in reading.list_conflicts(store) if one["reason"] == "refused"}
    assert refused == {"acct_palm"} if trusted else {"acct_palm", "acct_reed"}


def test_an_account_is_compared_with_itself(store: Store, worlds: dict[str, StripeWorld]) -> None:
    """Drift of one account is repaired there; the same ids of the others stay as they are."""
    own, reed = worlds["self"], worlds["acct_reed"]
    with serve(own, connected={"acct_reed": reed}) as (url, _):
        before = seats(store)
        report = reconcile(store, api(url, "acct_reed"), scope=Scope(account="acct_reed"), now=own.now)
        again = reconcile(store, api(url, "acct_reed"), scope=Scope(account="acct_reed"), now=own.now)

    assert {drift.object_type for drift in report.drift} == {"subscription"}
    assert (again.drift, seats(store)) == ([], before | {"acct_reed": SEATS["acct_reed"]})


def test_events_of_an_organization_are_of_the_account_that_they_name(
    store: Store, worlds: dict[str, StripeWorld]
) -> None:
    """Its endpoint sends snapshots whose `account` is missing, and contexts that are a path: the last one is meant."""
    own, palm = worlds["self"], worlds["acct_palm"]
    [subscription] = (o["id"] for o in palm.objects.values() if o["object"] == "subscription")
    palm.change_quantity(subscription, 9)
    without = {name: value for name, value in palm.events[-1].items() if name != "account"}
    thin = {"object": "v2.core.event", "livemode": False, "created": "2026-11-02T00:00:00.000Z"}
    named = {"id": subscription, "type": "subscription", "url": f"/v1/subscriptions/{subscription}"}
    play(
        store,
        [
            {**without, "context": "acct_palm"},
            {**thin, "id": "evt_thin", "type": "v1.x", "context": "acct_own/acct_palm", "related_object": named},
            {**thin, "id": "evt_m", "type": "v1.billing.meter.no_meter_found", "context": "acct_own/acct_palm"},
        ],
    )

    assert seats(store)["acct_palm"] == 9
    own.advance(timedelta(minutes=1))
    with serve(own, connected={name: worlds[name] for name in ("acct_reed", "acct_palm")}) as (url, _):
        asked = refetch_due(store, api(url), scope=Scope(), now=PLAYED_AT)

    assert {one.outcome for one in asked} == {"settled"}
    assert list(store.query_index(REFETCH_INDEX)) == []


def test_a_request_under_a_whole_context_is_settled(store: Store, worlds: dict[str, StripeWorld]) -> None:
    """As the version before wrote it."""
    own = worlds["self"]
    [product] = (o["id"] for o in own.objects.values() if o["object"] == "product")
    scope = Scope(account="acct_own/acct_palm")
    store.commit([request(scope, "product", product, second=1, cause="evt", updated_at="now")])

    with serve(own, connected={name: worlds[name] for name in ("acct_reed", "acct_palm")}) as (url, _):
        refetch_due(store, api(url), scope=Scope(), now=PLAYED_AT)

    assert list(store.query_index(REFETCH_INDEX)) == []
    assert {item["account"] for item in reading.list_objects(store)} == set(ACCOUNTS)


@pytest.mark.parametrize("context", ["acct_own/", "org_1", "/", "acct_a/wksp_1"])
def test_a_context_without_an_account_is_a_reject(store: Store, context: str) -> None:
    """It would be due for ever; the event stays among the rejects."""
    thin = {"object": "v2.core.event", "livemode": False, "created": "2026-11-02T00:00:00.000Z", "type": "v1.x"}
    [result] = play(
        store, [{**thin, "id": "evt_1", "context": context, "related_object": {"id": "p", "type": "product"}}]
    )

    assert (result.outcome, result.fields["reason"]) == (Outcome.REJECTED, "invalid_schema")
    assert list(store.query_index(REFETCH_INDEX)) == []


@pytest.mark.parametrize("account", ["acct_a/acct_b", "/"])
def test_an_account_is_no_path(store: Store, account: str) -> None:
    """Names of customers are split at it."""
    world, _, _ = company(account=account)
    world.customer("ws")

    assert {result.fields["reason"] for result in play(store, world.events)} == {"invalid_schema"}

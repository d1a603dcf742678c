"""The schedules' two tasks, as Lambda runs them: against the simulated Stripe, within their time, or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from tests.support.flows.billing_play import play, records, wrong
from tests.support.flows.company import company

from nilometer.aws import clients
from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.link import trust_of
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import Scope
from nilometer.local.plane.engine import Engine
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi, is_live

SCOPE = Scope()


class Context:
    """What the handler uses of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.fixture
def run() -> Any:
    """The module, when its environment is set: it is imported late, since Powertools reads the environment."""
    from nilometer.lambdas import reconcile

    return reconcile.run


@pytest.fixture
def doubtful(store: Store) -> StripeWorld:
    """A subscription one of whose changes was lost within a second."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    world.advance(timedelta(seconds=9))
    for quantity in (5, 6, 7):
        world.change_quantity(subscription, quantity)
    lost = len(world.events) - 2
    play(store, [event for number, event in enumerate(world.events) if number != lost])
    world.advance(timedelta(seconds=30))
    return world


def api(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=500)


def test_the_minute_settles_what_is_due(store: Store, doubtful: StripeWorld, run: Any) -> None:
    """One request, and the next minute asks nothing."""
    with serve(doubtful) as (url, fake):
        first = run("refetch", store=store, api=api(url), scope=SCOPE, seconds=60)
        second = run("refetch", store=store, api=api(url), scope=SCOPE, seconds=60)

    assert (first, second, fake.requests) == ({"asked": 1}, {"asked": 0}, 1)
    assert wrong(store, doubtful) == []


def test_a_minute_without_time_leaves_it_due(store: Store, doubtful: StripeWorld, run: Any) -> None:
    """Nothing is asked after the deadline, and nothing is forgotten."""
    with serve(doubtful) as (url, fake):
        none = run("refetch", store=store, api=api(url), scope=SCOPE, seconds=0)
        later = run("refetch", store=store, api=api(url), scope=SCOPE, seconds=60)

    assert (none, later, fake.requests) == ({"asked": 0}, {"asked": 1}, 1)


def test_another_mode_is_not_asked_about(store: Store, doubtful: StripeWorld, run: Any) -> None:
    """A live key cannot see what a test key made."""
    with serve(doubtful) as (url, fake):
        done = run("refetch", store=store, api=api(url), scope=Scope(livemode=True), seconds=60)

    assert (done, fake.requests) == ({"asked": 0}, 0)


def test_the_night_reports_drift_and_repairs_it(store: Store, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An event that never came: counted, named by its fields, and merged away."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)
    world.advance(timedelta(minutes=1))
    world.change_quantity(subscription, 9)
    world.advance(timedelta(minutes=1))

    with serve(world) as (url, _):
        first = run("reconcile", store=store, api=api(url), scope=SCOPE, seconds=60)
        second = run("reconcile", store=store, api=api(url), scope=SCOPE, seconds=60)

    [drift] = [vars(line) for line in caplog.records if line.message == "reconcile.drift"]
    counted = [vars(line) for line in caplog.records if "DriftFound" in vars(line)]
    assert [(line["DriftFound"], line["flow"]) for line in counted] == [(1, "reconcile"), (0, "reconcile")]
    assert counted[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["flow"]]
    assert (first["drift"], second["drift"], first["stopped"]) == (1, 0, False)
    assert (drift["object_id"], records(store)["ws"]["seats"]) == (subscription, 9)


def test_a_night_without_time_says_so_and_takes_nothing_for_deleted(store: Store, run: Any) -> None:
    """After one page: what was not listed yet is not missing."""
    world, _, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)
    before = len(list(store.scan(Table.RECORDS)))

    with serve(world) as (url, fake):
        report = run("reconcile", store=store, api=api(url), scope=SCOPE, seconds=0)

    assert (report["stopped"], report["drift"], fake.requests) == (True, 0, 1)
    assert len(list(store.scan(Table.RECORDS))) == before
    assert records(store)["ws"]["status"] == "active"


def test_the_night_compares_connect_accounts_too(store: Store, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Each as itself; one that refuses the key stops no other."""
    worlds = {}
    for name in (None, "acct_reed", "acct_gone"):
        world, _, price = company(seed=1, account=name)
        subscription = world.subscribe(world.customer(f"ws_{name}"), [(price, 1)])
        play(store, world.events, trust=trust_of("*/test"))
        world.change_quantity(subscription, 9)
        world.advance(timedelta(minutes=1))
        worlds[name] = world

    with serve(worlds[None], connected={"acct_reed": worlds["acct_reed"]}) as (url, _):
        first = run("reconcile", store=store, api=api(url), scope=SCOPE, seconds=60)
        second = run("reconcile", store=store, api=api(url), scope=SCOPE, seconds=60)

    drifts = {vars(line)["stripe_account"] for line in caplog.records if line.message == "reconcile.drift"}
    refused = {vars(line)["stripe_account"] for line in caplog.records if line.message == "reconcile.refused"}
    assert (first["drift"], second["drift"]) == (2, 0)
    assert (drifts, refused) == ({"self", "acct_reed"}, {"acct_gone"})
    assert [records(store)[f"ws_{name}"]["seats"] for name in worlds] == [9, 9, 1]


def test_an_unknown_task_is_a_defect(store: Store, run: Any) -> None:
    """The function ends with an error, and its alarm tells."""
    with pytest.raises(KeyError):
        run("tidy", store=store, api=api("http://127.0.0.1:9"), scope=SCOPE, seconds=60)


@pytest.fixture
def secret(aws: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A secret with the template's placeholder, and the environment that the template gives the function."""
    from nilometer.lambdas import reconcile

    clients.client.cache_clear()
    arn = boto3.client("secretsmanager").create_secret(Name=f"key-{uuid.uuid4().hex}", SecretString="unset")["ARN"]
    for name in ("RECORDS_TABLE", "EVENTS_TABLE"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("BILLING_SCOPES", "self/live self/test")
    monkeypatch.setenv("STRIPE_API_KEY_ARN", arn)
    yield arn
    reconcile._dependencies.cache_clear()
    clients.client.cache_clear()


def test_a_changed_product_needs_no_key(
    store: Store, secret: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The schedule brings it into the records that use it, also where Stripe is never asked."""
    from nilometer.lambdas import reconcile

    monkeypatch.setenv("RECORDS_TABLE", store._names[Table.RECORDS])
    world, product, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    play(store, world.events)
    world.update(product, metadata={"limit_api_calls": "50"})
    with monkeypatch.context() as within:
        within.setattr("nilometer.flows.billing.batch.requested", lambda _store, _names: [])
        play(store, world.events[-1:])

    assert reconcile.handler({"do": "refetch"}, Context()) == {}

    assert records(store)["ws"]["limits"] == {"api_calls": 50}
    assert [line.message for line in caplog.records] == ["refold.done", "reconcile.off"]


@pytest.mark.parametrize("task", ["meter", "reconcile"])
def test_without_a_key_nothing_is_done(secret: str, caplog: pytest.LogCaptureFixture, task: str) -> None:
    """As deployed, and on one machine: one line says so, and no table is touched."""
    from nilometer.lambdas import reconcile

    assert reconcile.handler({"do": task}, Context()) == {}

    assert [line.message for line in caplog.records][:1] == ["reconcile.off"]


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_live_1", True), ("rk_live_1", True), ("sk_test_1", False), ("rk_test_live_1", False)],
)
def test_a_key_tells_its_mode(key: str, live: bool) -> None:
    """By its second word alone."""
    assert is_live(key) is live

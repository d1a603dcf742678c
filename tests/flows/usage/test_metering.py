"""Stripe's meters end at the counters, whatever dies or is lost on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at, together
from tests.support.flows.billing_play import play
from tests.support.flows.company import company
from tests.support.flows.limits import look, records
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, Recording, cloud, handle

from nilometer import CreateWorkspace, UpdateMeter, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Delete, Put, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.usage.meter_event import MeterEvent
from nilometer.errors import Misconfigured, Refused, Rejected, Unavailable
from nilometer.flows.limits.reactions import react
from nilometer.flows.usage import metering
from nilometer.flows.usage.known import Known
from nilometer.flows.usage.metering import Told, drain, outbox
from nilometer.lambdas import reconcile
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

SCOPE = Scope()


def bill(
    store: Store, customer: str = "self/test/cus_1", *, workspace: str = WORKSPACE, **more: dict[str, Any]
) -> None:
    """The workspace's billing record, as the customer's subscription makes it."""
    inputs = with_views(Inputs(), customer, {"sub_1": {"object": "subscription", "status": "active", "version": 1}})
    for name, views in more.items():
        inputs = with_views(inputs, f"self/test/{name}", views)
    key = keys.billing(workspace)
    item = record_item(key, inputs, workspace_id=workspace, version=1, cause="evt", updated_at="now")
    store.commit([Put(table=Table.RECORDS, item=item)])


@pytest.fixture
def known(ready: Store) -> Known:
    """A meter that Stripe bills, and a customer."""
    perform(ready, operator("test"), UpdateMeter(meter="api_calls", stripe_event_name="calls"), now=NOW)
    bill(ready)
    return Known(ready)


def use(known: Known, objects: Objects, *events: dict[str, Any]) -> None:
    """Counts them, and the reader of the stream sees the counters."""
    handle(known.store, objects, *events)
    look(known.store)


def tell(known: Known, stripe: Any, **given: Any) -> list[Told]:
    return [one.told for one in drain(known, stripe, **{"scope": SCOPE, "now": NOW, **given})]


def waiting(known: Known) -> int:
    return len(list(outbox(known.store)))


def test_stripe_is_told_what_it_does_not_have(known: Known, objects: Objects) -> None:
    """The difference, once; nothing is asked about a counter that does not change."""
    stripe = Recording()
    use(known, objects, cloud("a", quantity="1.5"))

    assert [tell(known, stripe), tell(known, stripe)] == [[Told.SENT], []]
    use(known, objects, cloud("b", quantity="2"))
    assert tell(known, stripe) == [Told.SENT]
    assert [event.value for event in stripe.events.values()] == [Decimal("1.5"), Decimal(2)]


def test_late_usage_of_a_period_is_told_within_it(known: Known, objects: Objects) -> None:
    """A delta never crosses a boundary: its timestamp is the last second of its period."""
    stripe = Recording()
    use(known, objects, cloud("a", quantity="3", time=NOW - timedelta(days=25)), cloud("b", quantity="4"))

    tell(known, stripe)

    told = sorted((event.timestamp, event.value) for event in stripe.events.values())
    assert told == [(1793491199, 3), (epoch(NOW), 4)]
    assert {(event.customer_id, event.event_name) for event in stripe.events.values()} == {("cus_1", "calls")}


def test_usage_of_a_period_that_begins_in_a_moment_is_told_within_it(known: Known, objects: Objects) -> None:
    """A fact may be five minutes ahead."""
    stripe, soon = Recording(), NOW + timedelta(minutes=2)
    key = keys.billing(WORKSPACE)
    record = {**(known.store.get(Table.RECORDS, key) or {}), "periods": [[epoch(soon), epoch(soon) + 86_400]]}
    known.store.commit([Put(table=Table.RECORDS, item=record)])
    use(Known(known.store), objects, cloud("a", quantity="3", time=soon + timedelta(minutes=2)))
    tell(known, stripe)

    assert [(event.timestamp, event.value) for event in stripe.events.values()] == [(epoch(soon), 3)]


def test_a_lost_answer_is_asked_again_under_the_same_identifier(known: Known, objects: Objects) -> None:
    """More usage came meanwhile: the first delta stays as it was."""
    stripe = Recording(loses=2)
    use(known, objects, cloud("a"))
    assert [tell(known, stripe) for _ in range(2)] == [[Told.UNAVAILABLE]] * 2
    use(known, objects, cloud("b"))

    assert tell(known, stripe, now=NOW + timedelta(hours=1)) == [Told.SENT]
    assert (stripe.total, len(stripe.events), waiting(known)) == (20, 2, 0)


def test_a_delta_that_waited_a_day_is_not_sent_again(known: Known, objects: Objects) -> None:
    """Stripe may have forgotten its identifier: a person looks first, and says whether it is there."""
    for n, is_at_stripe in enumerate((True, False)):
        day = NOW + timedelta(days=2 * n)
        use(known, objects, cloud(str(n)))
        lost, stripe = Recording(loses=1), Recording()
        tell(known, lost, now=day)
        assert tell(known, stripe, now=day + timedelta(hours=24)) == [Told.OVERDUE]
        [identifier] = lost.events
        metering.decide(known.store, identifier, is_at_stripe=is_at_stripe, now=day + timedelta(hours=24))
        tell(known, stripe, now=day + timedelta(hours=25))
        assert (set(stripe.events), waiting(known)) == (set() if is_at_stripe else {identifier}, 0)
    with pytest.raises(Refused):
        metering.decide(known.store, identifier, is_at_stripe=True, now=NOW)


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_drain_that_dies_at_any_call_counts_once(landed: bool, known: Known, objects: Objects) -> None:
    """Run again it ends at the counter, without another change of it."""
    stripe, number, survived = Recording(), 0, False
    while not survived:
        number += 1
        use(known, objects, cloud(str(number), quantity="1"))
        dying: Any = FaultyStore(known.store, dies_at(number, landed=landed))
        try:
            tell(Known(dying), stripe)
            survived = True
        except Killed:
            tell(known, stripe)
        assert (stripe.total, waiting(known)) == (number, 0)


def test_usage_that_comes_while_stripe_answers_is_told_next(known: Known, objects: Objects) -> None:
    """Also when its change was seen before the answer was stored: it is not forgotten for it."""

    class Busy(Recording):
        def send(self, event: MeterEvent) -> None:
            super().send(event)
            if len(self.events) == 1:
                use(known, objects, cloud("b", quantity="5"))

    stripe = Busy()
    use(known, objects, cloud("a", quantity="1"))

    tell(known, stripe)
    assert (stripe.total, waiting(known)) == (1, 1)
    tell(known, stripe)
    assert (stripe.total, waiting(known)) == (6, 0)


def test_every_counter_has_its_turn(known: Known, objects: Objects) -> None:
    """All change every hour, and an hour is too short for them; the run says how many it left."""
    stripe = Recording()
    names = [f"ws_{number}" for number in range(6)]
    for name in names:
        perform(known.store, service(name, "test"), CreateWorkspace(name=name), now=NOW)
        bill(known.store, f"self/test/cus_{name}", workspace=name)
    left = set()
    for hour in range(30):
        handle(known.store, objects, *(cloud(f"{name} {hour}", quantity="1", workspace=name) for name in names))
        for name in names:
            metering.touch(known, name, "api_calls", "2026-11-01T00:00:00.000Z", now=NOW)
        turns = iter([False] * 3)
        *_, last = drain(known, stripe, scope=SCOPE, now=NOW, out_of_time=lambda over=turns: next(over, True))  # type: ignore[misc]
        left.add(last.left)

    assert {event.customer_id for event in stripe.events.values()} == {f"cus_{name}" for name in names}
    assert left == {3}


def test_a_run_that_had_no_time_for_all_says_so(
    known: Known, objects: Objects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log."""
    use(known, objects, cloud("a"), cloud("b", time=NOW - timedelta(days=25)))
    turns = iter([False])
    monkeypatch.setattr(reconcile, "_deadline", lambda _: lambda: next(turns, True))
    api: Any = SimpleNamespace(meter_events=Recording())
    reconcile.run("meter", store=known.store, api=api, scope=SCOPE, seconds=60)

    assert [vars(line)["left"] for line in caplog.records if line.message == "metering.left"] == [1]


def test_two_who_drain_at_once_tell_it_once(known: Known, objects: Objects) -> None:
    """Both may send; the identifiers are the same."""
    stripe = Recording()
    use(known, objects, cloud("a", quantity="7"))
    together([lambda: list(tell(Known(known.store), stripe)) and None for _ in range(3)])
    tell(known, stripe)

    assert (stripe.total, waiting(known)) == (7, 0)


def test_what_stripe_does_not_bill_is_not_told(known: Known, objects: Objects) -> None:
    """A level, and a workspace whose customer is of another mode or account, or of nobody."""
    stripe = Recording()
    use(known, objects, cloud("s", meter="seats", unit="seat", type_="usage.snapshot.v1"))
    assert waiting(known) == 0
    for n, customer in enumerate(("self/live/cus_1", "acct_reed/test/cus_1")):
        bill(known.store, customer)
        use(known, objects, cloud(str(n)))
        assert tell(known, stripe) == [Told.NOTHING]
    known.store.commit([Delete(table=Table.RECORDS, key=keys.billing(WORKSPACE))])
    use(known, objects, cloud("c"))

    assert (tell(known, stripe), waiting(known), stripe.events) == ([Told.NOTHING], 0, {})


def test_who_pays_at_last_is_told_all(known: Known, objects: Objects) -> None:
    """Usage came before the customer: the record's change brings its counters back."""
    stripe = Recording()
    billed = known.store.get(Table.RECORDS, keys.billing(WORKSPACE)) or {}
    known.store.commit([Delete(table=Table.RECORDS, key=keys.billing(WORKSPACE))])
    use(known, objects, cloud("a", quantity="7"))
    tell(known, stripe)
    bill(known.store)
    react(records([billed]), known=Known(known.store), now=NOW)

    assert (tell(known, stripe), stripe.total) == ([Told.SENT], 7)


def test_of_a_period_that_stripe_takes_no_more_nothing_is_sent(known: Known, objects: Objects) -> None:
    """Who used for months and pays at last: what can be sent is, the rest is said once and leaves the outbox."""
    store, stripe = known.store, Recording()
    billed = store.get(Table.RECORDS, keys.billing(WORKSPACE)) or {}
    store.commit([Delete(table=Table.RECORDS, key=keys.billing(WORKSPACE))])
    for days in (100, 70, 25):
        at = NOW - timedelta(days=days)
        handle(store, objects, cloud(f"{days}", quantity="7", time=at), now=at)
        if days < 100:  # counted before its meter got the name
            metering.touch(known, WORKSPACE, "api_calls", rfc3339(at.replace(day=1, hour=0)), now=at)
    tell(known, stripe)
    never = keys.metered(WORKSPACE, "api_calls", "2026-08-01T00:00:00.000Z")
    bill(store)
    told = []
    for _ in range(2):
        react(records([billed]), known=Known(store), now=NOW)
        told.append(sorted(drain(known, stripe, scope=SCOPE, now=NOW), key=lambda one: one.of.period_start))

    assert [[one.told for one in run] for run in told] == [[Told.TOO_OLD, Told.SENT], [Told.NOTHING, Told.NOTHING]]
    assert told[0][0].message == "7 of the period until 2026-10-01T00:00:00.000Z can be sent no more"
    assert (stripe.total, waiting(known), store.get(Table.RECORDS, never)) == (7, 0, None)


def test_the_effective_subscription_s_customer_pays(known: Known, objects: Objects) -> None:
    """Of several."""
    ended = {"sub_2": {"object": "subscription", "status": "canceled", "version": 1}}
    bill(known.store, "self/test/cus_9", cus_0=ended)
    stripe = Recording()
    use(known, objects, cloud("a"))
    tell(known, stripe)

    assert {event.customer_id for event in stripe.events.values()} == {"cus_9"}


def test_against_stripe_itself(known: Known, objects: Objects, caplog: pytest.LogCaptureFixture) -> None:
    """By the scheduled task: a refused delta stays, and is reported when its customer exists; a copy is a success."""
    today = datetime.now(UTC)
    world = StripeWorld(today)
    handle(known.store, objects, cloud("a", quantity="1.5", time=today), now=today)
    look(known.store)
    with serve(world) as (url, _):
        api = StripeApi("sk_test_fake", base_url=url)
        given = {"store": known.store, "api": api, "scope": SCOPE, "seconds": 60}
        first = reconcile.run("meter", **given)
        customer = world.customer(WORKSPACE)
        bill(known.store, f"self/test/{customer}")
        second, third = reconcile.run("meter", **given), reconcile.run("meter", **given)
        [event] = world.meter_events.values()
        api.meter_events.send(replace(EVENT, identifier=event["identifier"], customer_id=customer))

    assert (first, second, third) == ({"refused": 1}, {"sent": 1}, {})
    assert (event["payload[stripe_customer_id]"], event["payload[value]"]) == (customer, "1.5")
    [stuck] = [vars(line) for line in caplog.records if line.message == "metering.refused"]
    assert (stuck["workspace_id"], stuck["meter"]) == (WORKSPACE, "api_calls")
    numbers = [vars(line)["MeterEventsStuck"] for line in caplog.records if line.message == "reconcile.metric"]
    assert numbers == [1, 0, 0]


class Taking(StripeApi):
    """A key of an account that takes usage of any customer, as Stripe does."""

    def __init__(self, url: str, taken: Recording) -> None:
        super().__init__("sk_live_fake", base_url=url)
        self.taken = taken

    @property
    def meter_events(self) -> Any:
        return self.taken


@pytest.mark.parametrize("registered", [True, False])
def test_a_key_of_another_account_is_sent_nothing(known: Known, objects: Objects, registered: bool) -> None:
    """It would take the usage and bill it to nobody. Nothing is fixed either; the right key sends all."""
    (ours, *_), (other, *_) = company(livemode=True), company(seed=1, livemode=True)
    customer = ours.customer(WORKSPACE)
    other.customer(WORKSPACE)
    if registered:
        play(known.store, ours.events)
    bill(known.store, f"self/live/{customer}")
    use(known, objects, cloud("a", quantity="3"))
    stripe, given = Recording(), {"store": known.store, "scope": Scope(livemode=True), "seconds": 60}

    with serve(other) as (url, _), pytest.raises(Misconfigured) if registered else nullcontext():
        assert reconcile.run("meter", api=Taking(url, stripe), **given) == {Told.REFUSED: 1}
    [left], foreign = outbox(known.store), dict(stripe.events)
    with serve(ours) as (url, _):
        told = reconcile.run("meter", api=Taking(url, stripe), **given)

    assert (foreign, "pending" in left, told) == ({}, False, {Told.SENT: 1})
    assert ([event.customer_id for event in stripe.events.values()], stripe.total) == ([customer], 3)


def test_a_customer_that_stripe_does_not_know_holds_up_no_other(
    known: Known, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator linked it by a wrong id. It comes first and waits; the other one is sent."""
    world, *_ = company(livemode=True)
    right = world.customer(WORKSPACE)
    play(known.store, world.events)
    perform(known.store, service("ws_2", "test"), CreateWorkspace(name="ws_2"), now=NOW)
    bill(known.store, f"self/live/{right}")
    bill(known.store, "self/live/cus_never", workspace="ws_2")
    handle(known.store, objects, cloud("a"), cloud("b", workspace="ws_2"))
    for name in (WORKSPACE, "ws_2"):
        metering.touch(known, name, "api_calls", "2026-11-01T00:00:00.000Z", now=NOW)
    stripe, given = Recording(), {"store": known.store, "scope": Scope(livemode=True), "seconds": 60}
    by_name = {"key": lambda of: of.workspace_id == WORKSPACE}
    monkeypatch.setattr(metering.random, "sample", lambda every, _: sorted(every, **by_name))

    with serve(world) as (url, _):
        told = reconcile.run("meter", api=Taking(url, stripe), **given)

    assert told == {Told.REFUSED: 1, Told.SENT: 1}
    assert ([event.customer_id for event in stripe.events.values()], waiting(known)) == ([right], 1)


def test_a_pending_delta_waits_for_a_key_of_its_mode(known: Known, objects: Objects) -> None:
    """Its answer was lost, and the key of live mode was replaced by one of test mode."""
    stripe, live = Recording(loses=1), {"scope": Scope(livemode=True)}
    bill(known.store, "self/live/cus_1")
    use(known, objects, cloud("a", quantity="3"))

    told = [tell(known, stripe, **live), tell(known, other := Recording()), tell(known, stripe, **live)]

    assert told == [[Told.UNAVAILABLE], [Told.REFUSED], [Told.SENT]]
    assert (stripe.total, other.events, waiting(known)) == (3, {}, 0)


def test_a_pending_delta_goes_with_its_workspace_to_another_mode(known: Known, objects: Objects) -> None:
    """It paid in test mode and pays in live mode, with a key of it; what the release before left beside a delta is no
    matter."""
    test, live = Recording(loses=1), Recording(loses=1)
    use(known, objects, cloud("a", quantity="3"))
    tell(known, test)
    bill(known.store, "self/live/cus_2")
    told = [tell(known, live, scope=Scope(livemode=True))]
    known.store.commit([Delete(table=Table.RECORDS, key=keys.billing(WORKSPACE))])
    told += [tell(known, live, scope=Scope(livemode=True)), tell(known, live)]
    stored = known.store.get(Table.RECORDS, keys.metered(WORKSPACE, "api_calls", "2026-11-01T00:00:00.000Z")) or {}
    known.store.commit([Put(table=Table.RECORDS, item={**stored, "pending_scope": "self/live"})])
    bill(known.store)
    use(known, objects, cloud("b", quantity="4"))
    told.append(tell(known, test))

    assert told == [[Told.UNAVAILABLE], [Told.SENT], [], [Told.SENT]]
    assert ([event.customer_id for event in live.events.values()], live.total) == (["cus_2"], 3)


EVENT = MeterEvent(event_name="calls", customer_id="cus_1", value=Decimal("1E+2"), identifier="abc", timestamp=1)


@pytest.fixture
def answers() -> Iterator[tuple[str, list[tuple[int, dict[str, Any]]], list[dict[str, Any]]]]:
    """A Stripe on loopback: its address, the answers that it will give, the requests that it got."""
    planned: list[tuple[int, dict[str, Any]]] = []
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            got.append({name: values[0] for name, values in form.items()})
            status, body = planned.pop(0)
            self.send_response(status)
            self.send_header("Stripe-Should-Retry", "false")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", planned, got
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


def test_a_meter_event_travels_whole(answers: Any) -> None:
    """Plain digits, and always a timestamp and an identifier."""
    url, planned, got = answers
    planned.append((200, {"object": "billing.meter_event", "identifier": "abc"}))

    StripeApi("sk_test_x", base_url=url).meter_events.send(EVENT)

    assert got == [
        {
            "event_name": "calls",
            "identifier": "abc",
            "timestamp": "1",
            "payload[stripe_customer_id]": "cus_1",
            "payload[value]": "100",
        }
    ]


@pytest.mark.parametrize(
    ("status", "body", "raised"),
    [
        (400, refusal("An event already exists with identifier abc."), None),
        (400, refusal("No such customer"), Rejected),
        (401, refusal("Invalid API Key"), Misconfigured),
        (500, refusal("oops", "api_error"), Unavailable),
    ],
)
def test_stripes_answers_say_what_happens_next(answers: Any, status: int, body: Any, raised: Any) -> None:
    """That it has the event already is success."""
    url, planned, _ = answers
    planned.append((status, body))
    send = StripeApi("sk_test_x", base_url=url).meter_events.send

    if raised is None:
        send(EVENT)
    else:
        with pytest.raises(raised):
            send(EVENT)

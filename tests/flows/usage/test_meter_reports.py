"""Usage that Stripe took and could not count later: named, visible, and sent again once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.support.events.hostile import HOSTILE, fields, placed
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.billing_play import bodies
from tests.support.flows.limits import look
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle

from nilometer import UpdateMeter, operator, perform
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.usage.meter_event import begun, metered_of
from nilometer.domain.usage.meter_report import errors_of
from nilometer.errors import Misconfigured, Refused
from nilometer.flows.billing import batch as billing
from nilometer.flows.usage import meter_reports, metering
from nilometer.lambdas import reconcile
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

SCOPE = Scope()


class Play:
    """A workspace that Stripe bills by a meter, beside a Stripe of its own; both clocks stand at `today`."""

    def __init__(self, store: Store, objects: Objects, *, livemode: bool = False) -> None:
        self.store, self.objects, self.scope = store, objects, Scope(livemode=livemode)
        self.today = datetime.now(UTC).replace(microsecond=0)
        self.world = StripeWorld(self.today, livemode=livemode)
        self.customer = self.world.customer(WORKSPACE)
        perform(store, operator("test"), UpdateMeter(meter="api_calls", stripe_event_name="calls"), now=NOW)
        views = {"sub_1": {"object": "subscription", "status": "active", "version": 1}}
        inputs = with_views(Inputs(), f"self/{'live' if livemode else 'test'}/{self.customer}", views)
        key = keys.billing(WORKSPACE)
        item = record_item(key, inputs, workspace_id=WORKSPACE, version=1, cause="evt", updated_at="now")
        store.commit([Put(table=Table.RECORDS, item=item)])

    def use(self, event_id: str, quantity: str) -> None:
        handle(self.store, self.objects, cloud(event_id, quantity=quantity, time=self.today), now=self.today)
        look(self.store)

    def run(self, api: StripeApi, task: str) -> dict[str, Any]:
        return reconcile.run(task, store=self.store, api=api, scope=self.scope, seconds=60)

    def deliver(self, thin: dict[str, Any]) -> Outcome:
        """The webhook of a thin event, as billing gets it. It is some seconds old, so that its report is due."""
        created = (self.today - timedelta(seconds=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
        envelope = {"id": "1", "source": "nilometer.webhook", "detail-type": thin["type"], "time": created}
        body = json.dumps({**envelope, "detail": {**thin, "created": created}})
        [result] = billing.handle([Message("1", body)], store=self.store, objects=self.objects, now=self.today)
        return result.outcome

    @property
    def told(self) -> Decimal:
        """What Stripe counts."""
        return sum((Decimal(one["payload[value]"]) for one in self.world.meter_events.values()), Decimal(0))

    @property
    def refused(self) -> dict[str, str]:
        """By identifier, the codes that the outbox shows."""
        items = list(metering.outbox(self.store))
        return {identifier: one["code"] for item in items for identifier, one in item.get("refused", {}).items()}


@pytest.fixture
def play(ready: Store, objects: Objects) -> Play:
    return Play(ready, objects)


@pytest.mark.parametrize("code", ["meter_event_customer_not_found", "no_meter"])
def test_a_refused_delta_is_named_and_sent_again_once(play: Play, code: str) -> None:
    """Of three deltas Stripe refuses the second: it is in the outbox by its identifier, and the counter and Stripe
    agree after it was sent again, however often the report and the decision come."""
    with serve(play.world) as (url, _):
        api = StripeApi("sk_test_fake", base_url=url)
        for number, quantity in enumerate(("1.5", "2", "4")):
            play.use(f"e{number}", quantity)
            play.run(api, "meter")
        second = list(play.world.meter_events)[1]
        thin = play.world.report_errors([second], code, unnamed=2)
        outcomes = [play.deliver(thin), play.deliver(thin)]
        play.run(api, "refetch")
        named, before = play.refused, play.told
        again = play.world.report_errors([second], code)
        play.deliver(again)
        play.run(api, "refetch")
        waiting = [(one["version"], play.run(api, "meter")) for one in metering.outbox(play.store) for _ in range(2)]
        still, rested = play.refused, list(metering.outbox(play.store))

        metering.decide(play.store, second, is_at_stripe=False, now=play.today)
        with pytest.raises(Refused):
            metering.decide(play.store, second, is_at_stripe=False, now=play.today)
        play.deliver({**again, "id": "evt_later"})
        play.world.reports["evt_later"] = play.world.reports[again["id"]]
        play.run(api, "refetch")
        after = [play.run(api, "meter"), play.run(api, "meter")]

    assert outcomes == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert named == still == {second: code}
    assert [one["version"] for one in rested] == [waiting[0][0]]
    assert [done for _, done in waiting] == [{"nothing": 1}] * 2, "what waits for a person is not written each hour"
    assert (before, play.told, play.refused) == (Decimal("5.5"), Decimal("7.5"), {})
    assert after == [{"sent": 1}, {}]
    assert list(metering.outbox(play.store)) == []


def test_a_refused_delta_may_be_let_go(play: Play) -> None:
    """Stripe has it after all, says who looked: nothing is sent again."""
    with serve(play.world) as (url, _):
        api = StripeApi("sk_test_fake", base_url=url)
        play.use("a", "3")
        play.run(api, "meter")
        [identifier] = play.world.meter_events
        play.deliver(play.world.report_errors([identifier], "archived_meter"))
        play.run(api, "refetch")
        metering.decide(play.store, identifier, is_at_stripe=True, now=play.today)

        assert play.run(api, "meter") == {}
    assert (play.refused, list(metering.outbox(play.store))) == ({}, [])


def test_a_report_that_stripe_does_not_have_any_more_is_let_go(play: Play) -> None:
    """And of one that names deltas of somebody else nothing is stored."""
    with serve(play.world) as (url, _):
        api = StripeApi("sk_test_fake", base_url=url)
        gone = play.world.report_errors(["a" * 40], "no_meter")
        play.deliver(gone)
        strange = play.world.report_errors(["b" * 40], "archived_meter", unnamed=3)
        play.deliver(strange)
        del play.world.reports[gone["id"]]
        read = list(meter_reports.read_reports(play.store, api, scope=SCOPE, now=play.today))
        later = list(meter_reports.read_reports(play.store, api, scope=SCOPE, now=play.today))

    assert {one.event_id: (one.outcome, one.errors, one.strange, one.unnamed) for one in read} == {
        gone["id"]: ("gone", 0, 0, 0),
        strange["id"]: ("read", 4, 1, 3),
    }
    assert later == []


def test_a_report_waits_for_the_key_of_its_account(ready: Store, objects: Objects) -> None:
    """With a live key of another account Stripe has no such report, and says nothing of ours by that."""
    play = Play(ready, objects, livemode=True)
    billing.handle(bodies(play.world.events), store=ready, objects=objects, now=play.today)
    other = StripeWorld(play.today, seed=1, livemode=True)
    play.use("e1", "1.5")

    with serve(play.world) as (url, _), serve(other) as (foreign, _):
        right, wrong = StripeApi("sk_live_fake", base_url=url), StripeApi("sk_live_fake", base_url=foreign)
        play.run(right, "meter")
        [identifier] = play.world.meter_events
        play.deliver(play.world.report_errors([identifier], "no_meter"))
        with pytest.raises(Misconfigured, match="of another account"):
            play.run(wrong, "refetch")
        play.run(right, "refetch")

    assert play.refused == {identifier: "no_meter"}


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_process_that_dies_at_any_call_marks_a_delta_once(landed: bool, play: Play) -> None:
    """Of its reading of a report; the next run does the rest."""
    with serve(play.world) as (url, _):
        api = StripeApi("sk_test_fake", base_url=url)
        number, survived = 0, False
        while not survived:
            number += 1
            play.use(str(number), "1")
            play.run(api, "meter")
            identifier = list(play.world.meter_events)[-1]
            play.deliver(play.world.report_errors([identifier], "archived_meter"))
            dying: Any = FaultyStore(play.store, dies_at(number, landed=landed))
            try:
                list(meter_reports.read_reports(dying, api, scope=SCOPE, now=play.today))
                survived = True
            except Killed:
                play.run(api, "refetch")
            assert len(play.refused) == number
        for identifier in play.refused:
            metering.decide(play.store, identifier, is_at_stripe=False, now=play.today)
        play.run(api, "meter")

    assert (play.told, play.refused) == (number, {})


@pytest.mark.parametrize("is_at_stripe", [False, True])
def test_a_counter_whose_drain_died_is_still_read(is_at_stripe: bool, play: Play) -> None:
    """A report of an earlier delta, and the decision on it, come before the next drain."""
    with serve(play.world) as (url, _):
        api = StripeApi("sk_test_fake", base_url=url)
        play.use("a", "3")
        play.run(api, "meter")
        [identifier] = play.world.meter_events
        play.use("b", "5")
        [item] = metering.outbox(play.store)
        play.store.commit([begun(item, metered_of(item), now=play.today)])
        play.deliver(play.world.report_errors([identifier], "archived_meter"))
        play.run(api, "refetch")
        metering.decide(play.store, identifier, is_at_stripe=is_at_stripe, now=play.today)
        play.run(api, "meter")

    assert (play.told, list(metering.outbox(play.store))) == (5 if is_at_stripe else 8, [])


def test_nothing_in_a_report_makes_it_unreadable() -> None:
    """Every hostile value in every field: what cannot be read in it is left out, and what is named fits a key."""
    world = StripeWorld(NOW)
    thin = world.report_errors(["a" * 40], "no_meter")
    report = world.reports[thin["id"]]
    for place in fields(report):
        for value in HOSTILE.values():
            try:
                odd = json.loads(placed(report, place, value))
            except (ValueError, RecursionError):
                continue
            if isinstance(odd, dict):
                found = errors_of(odd)
                assert all(len(one) <= 64 and one.isascii() for pair in found.codes.items() for one in pair)

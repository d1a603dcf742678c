"""Scopes of Stripe's meters: what Stripe was told is what was counted, once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.billing.customers import company
from tests.support.simulation.scopes.events import envelope
from tests.support.simulation.scopes.usage.counting import EARLY, START, consume, counted, event, law, warm
from tests.support.simulation.services.stripe import SimStripe

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.events.outcome import Message
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.domain.stripe.event import THIN
from nilometer.domain.stripe.event import Scope as StripeScope
from nilometer.domain.stripe.registers.refetch import request
from nilometer.domain.usage.meter_event import MeterEvent
from nilometer.errors import Refused, Unavailable
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage import meter_reports, metering
from nilometer.flows.usage.known import Known

REPORT = "evt_report"


def billed(plant: Plant) -> None:
    """The meter `m` is reported to Stripe; workspace `a` pays as cus_1 and has used three."""
    meter = CreateMeter(meter="m", unit="u", aggregation="sum", stripe_event_name="calls")
    perform(plant.store, operator("test"), meter, now=EARLY)
    perform(plant.store, service("a", "test"), CreateWorkspace(name="A"), now=EARLY)
    inputs = with_views(
        Inputs(), "self/test/cus_1", {"sub_1": {"object": "subscription", "status": "active", "version": 1}}
    )
    item = record_item(keys.billing("a"), inputs, workspace_id="a", version=1, cause="evt", updated_at="now")
    plant.store.commit([Put(table=Table.RECORDS, item=item)])
    first = [Message("1", envelope(event("e1", "3")))]
    usage.handle(first, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    metering.touch(plant.known(), "a", "m", START, now=NOW)


def drainer(plant: Plant, known: Known | None = None) -> tuple[SimStripe, Callable[[], None]]:
    """A Stripe, and a run that reports to it; with `known` by what one process remembers. `Unavailable` when a delta
    may not have arrived."""
    stripe = SimStripe(plant.world, company()[0])
    plant.world.stores.append(stripe)
    api: Any = stripe

    def drain() -> None:
        found = list(metering.drain(known or plant.known(), api, scope=StripeScope(), now=NOW))
        if any(one.told is metering.Told.UNAVAILABLE for one in found):
            raise Unavailable(found[0].message)

    return stripe, drain


def drains(plant: Plant, *, beside_usage: bool, drainers: int) -> Callable[[], None]:
    """Drainers at once, beside usage whose counter's change comes back to the outbox."""
    stripe, drain = drainer(plant)

    def touch() -> None:
        metering.touch(plant.known(), "a", "m", START, now=NOW)

    for number in range(drainers):
        plant.repeat(f"drainer {number + 1}", drain, until=Unavailable, times=3)
    if beside_usage:
        consume(plant, "consumer", [event("e2", "5")], known=warm(plant))
        plant.world.invariant = plant.on_change(f"USAGE#m#{START}", touch)

    def laws() -> None:
        for _ in range(3):
            with contextlib.suppress(Unavailable):
                drain()
        law(stripe.total == counted(plant) == Decimal(8 if beside_usage else 3), f"Stripe was told {stripe.total}")
        law(not list(metering.outbox(plant.store)), "the outbox is not empty")

    return laws


def another_payer(plant: Plant) -> Callable[[], None]:
    """The process that drains remembers the workspace from before another customer paid for it."""
    stripe, drain = drainer(plant, warm(plant))
    api: Any = stripe
    inputs = with_views(
        Inputs(), "self/test/cus_2", {"sub_2": {"object": "subscription", "status": "active", "version": 1}}
    )
    item = record_item(keys.billing("a"), inputs, workspace_id="a", version=2, cause="evt2", updated_at="now")
    plant.store.commit([Put(table=Table.RECORDS, item=item)])

    plant.repeat("drainer", drain, until=Unavailable, surely=True)

    def laws() -> None:
        list(metering.drain(plant.known(), api, scope=StripeScope(), now=NOW))
        told = {one.customer_id: one.value for one in stripe.taken.values()}
        law(told == {"cus_2": 3}, f"Stripe was told {told}")

    return laws


def an_old_delta(plant: Plant) -> Callable[[], None]:
    """Stripe did not answer for a day: a person must look. For an hour: the same delta is sent again."""
    stripe = SimStripe(plant.world, company()[0])
    plant.world.stores.append(stripe)
    api: Any = stripe
    told: list[metering.Told] = []

    def drain(hours: int = 0) -> None:
        at = NOW + timedelta(hours=hours)
        told.extend(one.told for one in metering.drain(plant.known(), api, scope=StripeScope(), now=at))

    plant.world.spawn("drainer whom Stripe does not answer", lambda: _trying(drain))

    def laws() -> None:
        waiting = bool([item for item in metering.outbox(plant.store) if "pending" in item])
        taken = set(stripe.taken)
        drain(48)
        law((told[-1:] == [metering.Told.OVERDUE]) is waiting, f"after two days: {told}")
        law(not waiting or set(stripe.taken) == taken, "what may be there already was sent again")
        drain(1)
        law(stripe.total == 3, f"Stripe was told {stripe.total}")

    return laws


def report_waits(plant: Plant) -> None:
    """Stripe took the delta of three, could not count it, and its report has yet to be read."""
    billed(plant)
    list(metering.drain(plant.known(), _Taking(), scope=StripeScope(), now=NOW))
    second = int((NOW - timedelta(minutes=1)).timestamp())
    plant.store.commit([request(StripeScope(), THIN, REPORT, second=second, cause=REPORT, updated_at="now")])


def report_is_read(plant: Plant) -> None:
    """The delta is in the outbox as refused."""
    report_waits(plant)
    list(meter_reports.read_reports(plant.store, _Taking(plant), scope=StripeScope(), now=NOW))


class _Taking:
    """A Stripe of the setup."""

    def __init__(self, plant: Plant | None = None) -> None:
        self.plant = plant

    def send(self, event: MeterEvent) -> None:
        return

    def thin_event(self, _event_id: str) -> dict[str, Any] | None:
        return _report(_sent_in_setup(self.plant)) if self.plant else None


def _sent_in_setup(plant: Plant) -> str:
    [delta] = plant.store.scan(Table.EVENTS, kind="meter_event")
    return str(delta["pk"]).partition("#")[2]


def _report(identifier: str) -> dict[str, Any]:
    errors = [{"code": "archived_meter", "sample_errors": [{"request": {"identifier": identifier}}]}]
    return {"data": {"reason": {"error_count": 1, "error_types": errors}}}


def sent_again(plant: Plant, *, readers: int, operators: int, drainers: int) -> Callable[[], None]:
    """Who reads the report, who sends its delta again and the hourly run, at once."""
    stripe = SimStripe(plant.world, company()[0])
    plant.world.stores.append(stripe)
    api: Any = stripe
    identifier = _sent_in_setup(plant)
    stripe.reports[REPORT] = _report(identifier)

    def read() -> None:
        found = list(meter_reports.read_reports(plant.store, api, scope=StripeScope(), now=NOW))
        if any(one.outcome != "read" for one in found):
            raise Unavailable("the report is not read")

    def decide() -> None:
        metering.decide(plant.store, identifier, is_at_stripe=False, now=NOW)

    def drain() -> None:
        found = list(metering.drain(plant.known(), api, scope=StripeScope(), now=NOW))
        if any(one.told is metering.Told.UNAVAILABLE for one in found):
            raise Unavailable(found[0].message)

    for number, work in enumerate([read] * readers + [decide] * operators + [drain] * drainers):
        plant.repeat(f"{work.__name__} {number + 1}", work, until=(Unavailable, Refused), times=2)

    def laws() -> None:
        for attempt in (read, decide, drain, read, drain):
            with contextlib.suppress(Refused):
                attempt()
        law(stripe.total == counted(plant) == 3, f"Stripe was told {stripe.total}")
        law(not list(metering.outbox(plant.store)), "the outbox is not empty")

    return laws


def _trying(work: Callable[[], None]) -> None:
    with contextlib.suppress(Unavailable):
        work()


def told(plant: Plant) -> None:
    """Stripe has the three that were used; the outbox is to be looked at once more."""
    billed(plant)
    api: Any = SimStripe(plant.world, company()[0])
    for _ in range(2):
        list(metering.drain(plant.known(), api, scope=StripeScope(), now=NOW))
    metering.touch(plant.known(), "a", "m", START, now=NOW)


def a_last_look(plant: Plant) -> Callable[[], None]:
    """A drain finds that Stripe has all, at the moment at which more is used: the rest is reported by a later one."""
    stripe = SimStripe(plant.world, company()[0])
    plant.world.stores.append(stripe)
    api: Any = stripe
    drain = lambda: list(metering.drain(plant.known(), api, scope=StripeScope(), now=NOW))  # noqa: E731  # short
    touch = lambda: metering.touch(plant.known(), "a", "m", START, now=NOW)  # noqa: E731  # short
    plant.repeat("drainer", drain, until=Unavailable)
    consume(plant, "consumer", [event("e2", "5")], known=warm(plant))
    plant.world.invariant = plant.on_change(f"USAGE#m#{START}", touch)

    def laws() -> None:
        for _ in range(3):
            drain()
        law(stripe.total == counted(plant) - 3 == 5, f"Stripe was told {stripe.total} more than three")

    return laws


SCOPES = (
    Scope("a delta that waits for a day", an_old_delta, billed),
    Scope(
        "two read a report of meter errors",
        lambda plant: sent_again(plant, readers=2, operators=1, drainers=0),
        report_waits,
        1,
    ),
    Scope(
        "two send a refused delta again beside a drain",
        lambda plant: sent_again(plant, readers=0, operators=2, drainers=1),
        report_is_read,
        1,
    ),
    Scope("a drain after another customer paid", another_payer, billed),
    Scope("two drain the outbox", lambda plant: drains(plant, beside_usage=False, drainers=2), billed, 1),
    Scope("one drains the outbox beside usage", lambda plant: drains(plant, beside_usage=True, drainers=1), billed, 1),
    Scope("a drain that finds nothing, beside usage", a_last_look, told, 1),
)

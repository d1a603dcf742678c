"""A small company's month: who signed up for what, what went wrong, how much they used. Nothing here sends.

The World is the truth of billing, `Usage.totals` the truth of usage; the demo compares what nilometer says with both.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from nilometer.domain.store.times import rfc3339
from nilometer.domain.usage.period import calendar_month
from nilometer.local.stripe.world import StripeWorld

DAYS = timedelta(days=32, hours=6)
DUPLICATES = 0.3
SOURCE = "/services/gateway"
UNKNOWN_YET = "siwa"
"""Uses the product before its workspace is created: its usage waits."""

_PLANS = (("reed", 1900, 500, 20), ("papyrus", 4900, 2000, 200), ("obelisk", 19900, 10000, 5000))
_CALLS = {"thebes": 180, "memphis": 420, "alexandria": 260, "aswan": 330, "luxor": 130, "giza": 90, UNKNOWN_YET: 60}
_MOST = 9


@dataclass(frozen=True, slots=True)
class Usage:
    """CloudEvents in the order of sending, copies among them, and what they add up to by workspace and meter."""

    events: tuple[str, ...]
    distinct: int
    totals: dict[tuple[str, str], Decimal]


def month(now: datetime, *, seed: int) -> StripeWorld:
    """Seven customers, from 32 days ago until now: about 160 events."""
    start = (now - DAYS).replace(microsecond=0)
    world = StripeWorld(start, seed=seed)

    def day(number: float) -> None:
        world.advance(max(start + timedelta(days=number) - world.now, timedelta(0)))

    reed, papyrus, obelisk = _catalog(world)
    day(0.1)
    thebes = world.subscribe(world.customer("thebes"), [(reed, 1)])
    day(0.2)
    memphis = world.subscribe(world.customer("memphis"), [(papyrus, 3)])
    day(1)
    alexandria = world.subscribe(world.customer("alexandria"), [(papyrus, 2)], trial_days=14)
    day(2)
    # Came through Checkout: only the session, which comes last, says whose subscription it is.
    aswan = world.checkout("aswan", [(obelisk, 1)])
    day(3)
    luxor = world.subscribe(world.customer("luxor"), [(papyrus, 1)])
    faiyum = world.subscribe(world.customer("faiyum"), [(reed, 2)])
    day(10)
    world.change_price(thebes, papyrus)
    day(12)
    world.warn_trial_end(alexandria)
    day(14)
    world.change_quantity(memphis, 5)
    # Twice within one second: no timestamp says which was the last.
    world.change_quantity(memphis, 6)
    day(15)
    world.end_trial(alexandria)
    day(18)
    world.cancel(faiyum)
    day(20)
    world.cancel_at_period_end(luxor)
    day(25)
    world.subscribe(world.customer("giza"), [(obelisk, 1)], trial_days=14)
    day(30.1)
    world.renew(thebes)
    world.fail_payment(memphis)
    day(31.5)
    world.recover_payment(memphis)
    day(32)
    world.renew(aswan)
    return world


def _catalog(world: StripeWorld) -> list[str]:
    prices = []
    for name, amount, calls, storage in _PLANS:
        limits = {"plan": name, "limit_api_calls": str(calls), "limit_storage_gb_hours": str(storage)}
        prices.append(world.price(world.product(name.capitalize(), limits), amount))
    return prices


def usage(now: datetime, *, seed: int) -> Usage:
    """The last hours of all customers: calls, storage in fractions, and a few counts of seats."""
    chance = random.Random(seed)
    distinct = [*_calls(now, chance), *_storage(now, chance)]
    totals: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for workspace, meter, quantity, _ in distinct:
        totals[workspace, meter] += quantity
    events = [
        cloud_event(f"{meter}-{number:05d}", workspace=workspace, meter=meter, quantity=quantity, time=time)
        for number, (workspace, meter, quantity, time) in enumerate(distinct)
    ]
    return Usage(tuple(with_copies(events, chance)), len(events), dict(totals))


def _calls(now: datetime, chance: random.Random) -> Iterator[tuple[str, str, Decimal, datetime]]:
    for workspace, count in _CALLS.items():
        for _ in range(count):
            yield workspace, "api_calls", Decimal(chance.randint(1, _MOST)), _recently(now, chance)


def _storage(now: datetime, chance: random.Random) -> Iterator[tuple[str, str, Decimal, datetime]]:
    for workspace in ("thebes", "memphis", "aswan"):
        for _ in range(20):
            yield workspace, "storage_gb_hours", Decimal(chance.randint(1, 8000)) / 1000, _recently(now, chance)


def _recently(now: datetime, chance: random.Random) -> datetime:
    """Within the last five hours of this month: everybody's current period began before, a calendar month too."""
    most = min(5 * 3600, int((now - calendar_month(now).start).total_seconds()))
    return now - timedelta(seconds=chance.randint(min(1, most), most))


def with_copies(items: list[str], chance: random.Random) -> list[str]:
    """Every item, three of ten once more, in random order."""
    copies = chance.sample(items, round(len(items) * DUPLICATES))
    return chance.sample(items + copies, len(items) + len(copies))


def cloud_event(event_id: str, *, workspace: str, meter: str, quantity: Decimal, time: datetime) -> str:
    """A `usage.recorded.v1` event as JSON text, with the meter's unit in its data."""
    units = {"api_calls": "call", "storage_gb_hours": "gb_hour"}
    data = {"meter": meter, "quantity": format(quantity, "f"), "unit": units.get(meter, "call")}
    return _event("usage.recorded.v1", event_id, subject=workspace, time=time, data=data)


def workspace_created(workspace: str, *, time: datetime) -> str:
    """A `workspace.created.v1` event as JSON text; the same workspace gives the same event id."""
    name = {"name": workspace.capitalize()}
    return _event("workspace.created.v1", f"created-{workspace}", subject=workspace, time=time, data=name)


def _event(kind: str, event_id: str, *, subject: str, time: datetime, data: Mapping[str, str]) -> str:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": SOURCE,
            "type": kind,
            "subject": subject,
            "time": rfc3339(time),
            "data": data,
        }
    )

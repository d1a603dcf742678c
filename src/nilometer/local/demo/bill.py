"""The bill of a month: what template.yaml costs without an event, and what so many events a day add to it.

What events cost is counted in a run (`local.demo.cost`). A commit of the lake is asked for by itself, because a lonely
event has one of its own; `ASSUMED` says what is not counted but taken.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nilometer.local.demo.cost import (
    BY_QUEUE,
    Cost,
    EventKind,
    Run,
    TableUse,
    billed_seconds,
    costs,
    kind_below,
    priced,
)
from nilometer.local.demo.prices import Prices
from nilometer.local.demo.stage import MINUTES, Stage, calls
from nilometer.local.plane.deployed import logical

POLLS = 5  # connections that Lambda keeps open to an idle queue, each asking three times a minute
_KEY_MINUTES = 5  # until Stripe's key is read again
_DEAD_LETTERS = 8  # queues that are looked into by schedule
_BILLED_SECONDS = {
    "RedriveSchedule": 1.0,
    "RefetchSchedule": 0.3,
    "LimitsSchedule": 0.3,
    "MeteringSchedule": 0.5,
    "UsageSchedule": 1.0,
}
_LONG_SECONDS = {"MaintenanceSchedule": 20.0, "ReconcileSchedule": 60.0}
_SWEEP_UNITS = {"RefetchSchedule": 1.0, "LimitsSchedule": 16.0}  # read units of a call that finds nothing
_METRICS = 10  # of our own that events write, where the run's logs were not read; fewer where whole hours are quiet
_IDLE_METRICS = 2  # of scheduled redrive and of Stripe's meters
_BUS_BYTES, _ITEM_BYTES, _ROW_BYTES, _REPORT_BYTES = 2_000, 1_200, 150, 900
_KEPT_MONTHS = Decimal("1.3")  # facts stay 40 days
_NAMES = {EventKind.WEBHOOK: "Stripe webhooks", EventKind.USAGE: "usage events", EventKind.CHANGE: "changes of records"}
ASSUMED = (
    f"{POLLS} polls at once of an idle queue; a call of a schedule bills 0.3 to 60 s",
    f"{_BUS_BYTES} bytes a change in the archive, {_ROW_BYTES} a row of the lake after a year",
    "sizes of facts and of their events are those of the run; what goes wrong has metrics of its own, not in it",
    f"Lambda itself logs {_REPORT_BYTES} bytes a call; a commit of a table takes what it took in the run",
    "a webhook is in as many tables of the lake as in the run, each a commit of its window, of one day and so one file",
    "events arrive evenly over the day; the ratio of record changes to events is that of the run",
    "what is free each month in every account is taken off; taxes, discounts and your own requests are not in it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """`amount` of what a price counts, in a month."""

    what: str
    fixed: bool
    price: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """Dollars a month."""

    what: str
    fixed: bool
    usd: Decimal


def bill(run: Run, made: Stage, *, stripe: Decimal, usage: Decimal, prices: Prices) -> list[BillLine]:
    """`stripe` and `usage` are events a month. What is free is taken off each price's whole, line by line alike."""
    items = [*_fixed(run, made), *_variable(run, made, {EventKind.WEBHOOK: stripe, EventKind.USAGE: usage})]
    whole: dict[str, Decimal] = defaultdict(Decimal)
    for item in items:
        whole[item.price] += item.amount
    lines: dict[tuple[str, bool], Decimal] = defaultdict(Decimal)
    for item in items:
        price = prices[item.price]
        billed = max(whole[item.price] - price.free, Decimal(0))
        lines[item.what, item.fixed] += price.of(item.amount * billed / whole[item.price]) if billed else Decimal(0)
    return [BillLine(what=what, fixed=fixed, usd=usd) for (what, fixed), usd in lines.items()]


def _fixed(run: Run, made: Stage) -> Iterator[Item]:
    def item(what: str, price: str, amount: float) -> Item:
        return Item(what=what, fixed=True, price=price, amount=Decimal(str(amount)))

    yield item("alarms", "alarm_metric", made.alarm_metrics)
    yield item("dashboard", "dashboard", int(made.dashboard_metrics > 50))
    yield item("secrets", "secret", made.secrets)
    yield item("metrics of our own", "custom_metric", _IDLE_METRICS)
    yield item("polls of idle queues", "queue_request", made.queues * POLLS * 3 * MINUTES)
    for name, count in made.schedules.items():
        function = made.targets[name]
        seconds = (_BILLED_SECONDS | _LONG_SECONDS)[name]
        yield item("schedules", "function_request", count)
        yield item("schedules", "function_gb_second", count * seconds * made.memory[function] / 1024)
        yield item("schedules", "read_unit", count * _SWEEP_UNITS.get(name, 0.0))
        yield item("logs of Lambda itself", "log_gb", count * _REPORT_BYTES / 1e9)
    looks = made.schedules.get("RedriveSchedule", 0)
    yield item("schedules", "queue_request", looks * _DEAD_LETTERS)
    yield item("schedules", "object_write", looks)
    yield item("secrets", "secret_request", MINUTES / _KEY_MINUTES)
    nights = calls("rate(1 day)")
    for counts, times in ((run.upkeep, made.schedules["MaintenanceSchedule"] - nights), (run.vacuum, nights)):
        for charge, requests in counts.charges:
            if charge.service == "s3" and (price := priced(charge)):
                yield item("upkeep of the lake", price, requests * times)


def _variable(run: Run, made: Stage, events: Mapping[EventKind, Decimal]) -> Iterator[Item]:
    found = {cost.kind: cost for cost in costs(run)}
    facts = sum(
        (found[kind].events for kind in (EventKind.WEBHOOK, EventKind.USAGE, EventKind.OPERATION) if kind in found), 0
    )
    told = sum(events.values(), Decimal(0))
    changes = told * found[EventKind.CHANGE].events / max(facts, 1)
    every = {**events, EventKind.CHANGE: changes}
    used = _lake(run, found)
    for kind, count in every.items():
        mine = [one for one in used if one.kind is kind]
        yield from _of_kind(found[kind], count, mine, made.window_seconds)
    for price, amount in _kept(run, {**every}, made):
        yield Item(what="storage and archive", fixed=False, price=price, amount=amount)
    quiet = Decimal(math.exp(-float(told) * 60 / MINUTES))
    yield Item(
        what="metrics of our own", fixed=False, price="custom_metric", amount=(run.metrics or _METRICS) * (1 - quiet)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LakeUse:
    """What one table, or the writer of one queue, asked for in `commits`, which held `rows`."""

    kind: EventKind
    amounts: dict[str, Decimal]
    commits: int
    rows: int


def _of_kind(cost: Cost, count: Decimal, lake: list[_LakeUse], window_seconds: int) -> Iterator[Item]:
    """Its own requests by the event, and the lake's by the commit: few events are in few tables, one by one."""
    calls = Decimal(0)
    for price, amount in cost.amounts.items():
        lakes = sum((one.amounts.get(price, Decimal(0)) for one in lake), Decimal(0))
        own = max(amount - lakes, Decimal(0)) / cost.events * count
        calls += own if price == "function_request" else Decimal(0)
        yield Item(what=_NAMES[cost.kind], fixed=False, price=price, amount=own)
    for one in lake:
        commits = _commits(count * one.rows / cost.events, window_seconds)
        for price, amount in one.amounts.items():
            each = amount / one.commits * commits
            calls += each if price == "function_request" else Decimal(0)
            yield Item(what="commits of the lake", fixed=False, price=price, amount=each)
    logged = calls * _REPORT_BYTES / Decimal(1_000_000_000)
    yield Item(what="logs of Lambda itself", fixed=False, price="log_gb", amount=logged)


def _lake(run: Run, kinds: Mapping[EventKind, Cost]) -> list[_LakeUse]:
    """Requests to S3 by table, calls and seconds of the lake's writer by queue."""
    stored: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for charge, requests in run.counts.charges:
        if charge.service == "s3" and kind_below(charge.resource) in kinds and (price := priced(charge)):
            stored[charge.resource][price] += requests
    found = []
    for place, amounts in stored.items():
        cost = kinds[kind_below(place) or EventKind.WEBHOOK]
        use = run.tables.get(place) or TableUse(commits=max(cost.lake_batches, 1), rows=cost.events)
        amounts["object_write"] -= max(use.files - use.commits, 0)  # the run's month in one commit; a window has a day
        found.append(_LakeUse(kind=cost.kind, amounts=amounts, commits=use.commits, rows=use.rows))
    return [*found, *_writers(run, kinds)]


def _writers(run: Run, kinds: Mapping[EventKind, Cost]) -> Iterator[_LakeUse]:
    for name, function in run.functions.items():
        if logical(name) == "LakeFunction":
            gigabytes = run.deployment.functions[name].memory / 1024
            for queue, used in function.used.items():
                if not (cost := kinds.get(BY_QUEUE[logical(queue)])):
                    continue
                seconds = Decimal(str(billed_seconds(run, name, used) * gigabytes))
                amounts = {"function_request": Decimal(used.invocations), "function_gb_second": seconds}
                yield _LakeUse(kind=cost.kind, amounts=amounts, commits=max(used.invocations, 1), rows=cost.events)


def _commits(events: Decimal, window_seconds: int) -> Decimal:
    """In a month: one for each window into which an event falls."""
    windows = Decimal(MINUTES * 60 // window_seconds)
    return windows * Decimal(1 - math.exp(-float(events / windows)))


def _kept(run: Run, events: Mapping[EventKind, Decimal], made: Stage) -> Iterator[tuple[str, Decimal]]:
    """Facts in the tables, rows of the lake after a year, and all that was on the bus."""
    gigabyte = Decimal(1_000_000_000)

    def size(of: Mapping[EventKind, float], kind: EventKind, otherwise: int) -> Decimal:
        return Decimal(str(of.get(kind, otherwise)))

    facts = {kind: count for kind, count in events.items() if kind is not EventKind.CHANGE}
    stored = sum(count * size(run.fact_bytes, kind, _ITEM_BYTES) for kind, count in facts.items())
    archived = sum(count * size(run.bus_bytes, kind, _BUS_BYTES) for kind, count in events.items()) / gigabyte
    tables = stored / gigabyte * _KEPT_MONTHS
    yield "table_gb", tables
    yield "object_gb", sum(events.values(), Decimal(0)) * _ROW_BYTES / gigabyte * 12
    if made.recovery:
        yield "recovery_gb", tables
    if made.archive_days:
        yield "archive_gb", archived
        yield "archive_storage_gb", archived * made.archive_days / 30


def as_json(lines: list[BillLine], prices: Prices) -> dict[str, Any]:
    """Lines and totals in dollars, with the region and the date of the prices."""

    def total(*, fixed: bool) -> float:
        return float(round(sum((line.usd for line in lines if line.fixed is fixed), Decimal(0)), 2))

    return {
        "region": prices.region,
        "dated": prices.dated,
        "lines": [{"what": one.what, "fixed": one.fixed, "usd": float(round(one.usd, 4))} for one in lines],
        "fixed": total(fixed=True),
        "variable": total(fixed=False),
        "usd_per_month": round(total(fixed=True) + total(fixed=False), 2),
        "assumed": ASSUMED,
    }

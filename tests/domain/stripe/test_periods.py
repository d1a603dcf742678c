"""The billing periods of a subscription, also of one whose items renew in different intervals."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import pytest
from tests.support.events.stripe import merged, updated
from tests.support.flows.billing_play import true_period

from nilometer.domain.billing.group import current_period, view
from nilometer.domain.stripe.event import Scope, StripeEvent
from nilometer.local.stripe.world import StripeWorld

DAY = 86_400
INTERVALS = {"week": ("week", 1, 7), "month": ("month", 1, 30), "quarter": ("month", 3, 90), "year": ("year", 1, 360)}


def item(name: str, day: int) -> dict[str, Any]:
    """As it is on `day`; all items began on day 0."""
    interval, count, days = INTERVALS[name]
    start = day // days * days
    price = {"id": f"price_{name}", "recurring": {"interval": interval, "interval_count": count}}
    bounds = {"current_period_start": start * DAY, "current_period_end": (start + days) * DAY}
    return {"id": f"si_{name}", "quantity": 1, "price": price, **bounds}


def periods(told: list[StripeEvent]) -> list[list[int]]:
    """As the record that the subscription decides has them."""
    bounds: list[list[int]] = seen(told)["periods"]
    return bounds


def current(told: list[StripeEvent]) -> Any:
    return current_period(seen(told))


def seen(told: list[StripeEvent]) -> dict[str, Any]:
    found = view(merged(told))
    assert found
    return found


@pytest.mark.parametrize(
    "names", [["month"], ["month", "year"], ["quarter", "month"], ["month", "week"], ["year", "quarter", "month"]]
)
def test_periods_are_those_of_the_shortest_interval(names: list[str]) -> None:
    """Each renewal is told by an event, in any order: no period is missing, none is that of a longer interval."""
    days = INTERVALS[min(names, key=lambda name: INTERVALS[name][2])][2]
    renewals = [day for day in range(1080) if any(day % INTERVALS[name][2] == 0 for name in names)]
    told = [updated(day * DAY + 1, {}, items={"data": [item(name, day) for name in names]}) for day in renewals]
    random.Random(0).shuffle(told)

    found = periods(told)

    newest = renewals[-1] // days * days
    starts = range(newest - days * (len(found) - 1), newest + 1, days)
    assert len(found) == 14
    assert found == [[start * DAY, (start + days) * DAY] for start in starts]


def test_what_runs_longer_goes_on() -> None:
    """The monthly item is removed within the third month: the year, which began before, runs on to its end."""
    shown = [(0, ["year", "month"]), (30, ["year", "month"]), (60, ["year", "month"]), (75, ["year"])]
    told = [updated(day * DAY + 1, {}, items={"data": [item(name, day) for name in names]}) for day, names in shown]

    found = periods(told)

    assert found == [[start * DAY, end * DAY] for start, end in ((0, 30), (30, 60), (60, 90), (90, 360))]


def test_the_current_period_has_begun() -> None:
    """The monthly item is removed within its month: its period is the current one until an event comes after its end.
    Nothing else is kept where the newest period has begun, so that a record does not change with each event."""
    shown = [(0, ["year", "month"]), (30, ["year", "month"]), (45, ["year"]), (59, ["year"]), (61, ["year"])]
    told = [updated(day * DAY + 1, {}, items={"data": [item(name, day) for name in names]}) for day, names in shown]

    found = [current(told[:known]) for known in range(1, 6)]

    assert found == [(start * DAY, end * DAY) for start, end in ((0, 30), (30, 60), (30, 60), (30, 60), (60, 360))]
    assert [seen(told[:known]).get("current") for known in (2, 3, 5)] == [None, [30 * DAY, 60 * DAY], None]
    assert seen(told[:3]) == seen(told[:4])


def test_what_ran_longer_stays_when_a_shorter_one_begins_again() -> None:
    """A monthly item is removed and, a year running, added again: the time between is still the year's."""
    shown = [(0, ["year"]), (20, ["year", "month"]), (60, ["year"]), (95, ["year", "month"])]
    told = [
        updated(day * DAY + 1, {}, items={"data": [{**item(name, day), **began(name, day)} for name in names]})
        for day, names in shown
    ]

    found = [periods(told[:known]) for known in range(1, 5)]

    assert found[2] == [[start * DAY, end * DAY] for start, end in ((0, 20), (20, 50), (50, 360))]
    assert found[3] == [[start * DAY, end * DAY] for start, end in ((0, 20), (20, 50), (50, 95), (95, 125))]


def began(name: str, day: int) -> dict[str, int]:
    """The bounds of an item that was added on that day, if its interval is a month."""
    return {"current_period_start": day * DAY, "current_period_end": (day + 30) * DAY} if name == "month" else {}


def test_no_period_outlasts_its_subscription() -> None:
    """A monthly item is added and removed, and before that month would be over the subscription is canceled."""
    with_month = [item("year", 3), {**item("month", 3), **began("month", 3)}]
    told = [updated(3 * DAY, {}, items={"data": with_month}), updated(5 * DAY, {}, items={"data": [item("year", 5)]})]
    last = updated(9 * DAY, {}, status="canceled", ended_at=9 * DAY, items={"data": [item("year", 9)]})

    assert periods([*told, last]) == [[0, 3 * DAY], [3 * DAY, 9 * DAY]]


def last_said(world: StripeWorld, subscription: str) -> tuple[int, int]:
    return true_period(world.objects[subscription])


@pytest.mark.parametrize("seed", range(200))
def test_histories_of_mixed_intervals(seed: int) -> None:
    """Items are added, removed, changed and renewed, several times a second, and half of the subscriptions are
    canceled: in any order the periods are those that were true, one after another."""
    chance, world = random.Random(seed), StripeWorld(datetime(2026, 1, 1, tzinfo=UTC), seed=seed)
    product = world.product("Delta")
    terms = [("week", 1), ("month", 1), ("month", 3), ("year", 1)]
    prices = [world.price(product, 100, interval, interval_count=count) for interval, count in terms]
    subscription = world.subscribe(world.customer(), [(chance.choice(prices), 1)])
    true = [last_said(world, subscription)]
    for _ in range(chance.randint(1, 25)):
        world.advance(timedelta(seconds=chance.choice((0, 0, 1, 86_400, 5 * 86_400))))
        end = min(item["current_period_end"] for item in world.objects[subscription]["items"]["data"])
        while end < world.second:  # nothing is late at Stripe
            world.now = datetime.fromtimestamp(end, UTC)
            world.renew(subscription)
            true.append(last_said(world, subscription))
            end = min(item["current_period_end"] for item in world.objects[subscription]["items"]["data"])
        items = world.objects[subscription]["items"]["data"]
        turn = chance.choice(("renew", "add", "remove", "change"))
        if turn == "add" or (turn == "remove" and len(items) == 1):
            world.add_item(subscription, chance.choice(prices))
        elif turn == "remove":
            world.remove_item(subscription, chance.randrange(len(items)))
        elif turn == "change":
            world.change_price(subscription, chance.choice(prices))
        else:
            world.renew(subscription)
        true.append(last_said(world, subscription))
    if chance.random() < 0.5:
        world.advance(timedelta(seconds=chance.choice((0, 1, 86_400, 3 * 86_400))))
        world.cancel(subscription)
    told = [event_of(one) for one in world.events if one["data"]["object"]["id"] == subscription]
    told += chance.choices(told, k=3)
    chance.shuffle(told)
    assert periods(told) == spans(true, world.objects[subscription]["ended_at"])
    assert (current(told)[0] or 0) <= world.second  # None: it was canceled in its first second


def spans(true: list[tuple[int, int]], ended_at: int | None) -> list[list[int]]:
    """The newest periods of what was true: at each moment of those that run the one that began last, and after the last
    start what runs now, until the subscription ended."""
    ends = dict(true)
    newest = max(ends)
    bounds = sorted({bound for bound in (*ends, *ends.values()) if bound <= newest})
    parts = [
        (max(running), since, until)
        for since, until in pairwise(bounds)
        if (running := [start for start, end in ends.items() if start <= since < end])
    ]
    runs = [list(part) for _, part in groupby(parts, key=itemgetter(0))]
    known = [[run[0][1], run[-1][2]] for run in runs]
    known.append([newest, ends[newest]])
    if known[-1][1] < true[-1][1]:
        known.append([known[-1][1], true[-1][1]])
    ends_at = [[since, until if ended_at is None else min(until, ended_at)] for since, until in known]
    return [[since, until] for since, until in ends_at if since < until][-14:]


def event_of(wire: dict[str, Any]) -> StripeEvent:
    return StripeEvent(
        id=wire["id"],
        type=wire["type"],
        scope=Scope(),
        created=wire["created"],
        object=wire["data"]["object"],
        previous=wire["data"].get("previous_attributes"),
        api_version=wire["api_version"],
    )

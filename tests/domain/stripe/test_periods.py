"""The billing periods of a subscription, also of one whose items renew in different intervals."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.support.events.stripe import merged, updated

from nilometer.domain.billing.group import periods_of

DAY = 86_400
INTERVALS = {"week": ("week", 1, 7), "month": ("month", 1, 30), "quarter": ("month", 3, 90), "year": ("year", 1, 360)}


def item(name: str, day: int) -> dict[str, Any]:
    """As it is on `day`; all items began on day 0."""
    interval, count, days = INTERVALS[name]
    start = day // days * days
    price = {"id": f"price_{name}", "recurring": {"interval": interval, "interval_count": count}}
    bounds = {"current_period_start": start * DAY, "current_period_end": (start + days) * DAY}
    return {"id": f"si_{name}", "quantity": 1, "price": price, **bounds}


@pytest.mark.parametrize(
    "names", [["month"], ["month", "year"], ["quarter", "month"], ["month", "week"], ["year", "quarter", "month"]]
)
def test_periods_are_those_of_the_shortest_interval(names: list[str]) -> None:
    """Each renewal is told by an event, in any order: no period is missing, none is that of a longer interval."""
    days = INTERVALS[min(names, key=lambda name: INTERVALS[name][2])][2]
    renewals = [day for day in range(1080) if any(day % INTERVALS[name][2] == 0 for name in names)]
    told = [updated(day * DAY + 1, {}, items={"data": [item(name, day) for name in names]}) for day in renewals]
    random.Random(0).shuffle(told)

    found = periods_of(merged(told), None)

    newest = renewals[-1] // days * days
    starts = range(newest - days * (len(found) - 1), newest + 1, days)
    assert len(found) == 14
    assert found == [[start * DAY, (start + days) * DAY] for start in starts]


def test_what_runs_longer_goes_on() -> None:
    """The monthly item is removed within the third month: the year, which began before, runs on to its end."""
    shown = [(0, ["year", "month"]), (30, ["year", "month"]), (60, ["year", "month"]), (75, ["year"])]
    told = [updated(day * DAY + 1, {}, items={"data": [item(name, day) for name in names]}) for day, names in shown]

    found = periods_of(merged(told), None)

    assert found == [[start * DAY, end * DAY] for start, end in ((0, 30), (30, 60), (60, 90), (90, 360))]

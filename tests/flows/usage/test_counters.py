"""The counters of one period are read without those of all other periods and days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.flows.usage import WORKSPACE

from nilometer.aws.dynamodb import Store
from nilometer.client.testing.memory import MemoryStore
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Table, new_item
from nilometer.flows.recovery.overview import used_by
from nilometer.flows.usage import counters
from nilometer.flows.usage.counters import counters_in, days_since, periods_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
START = rfc3339(NOW.replace(day=1, hour=0))
METERS = ["a", "a_b", "ab", "api_calls", "tokens"]


def counter(meter: str, start: str, shard: int = 0, workspace_id: str = WORKSPACE) -> dict[str, Any]:
    return new_item(
        keys.counter(workspace_id, meter, start, shard),
        "counter",
        workspace_id=workspace_id,
        meter=meter,
        scope="day" if start.startswith("DAY#") else "period",
        period_start=start.removeprefix("DAY#"),
        total=shard + 1,
        count=1,
    )


def starts(years: int) -> Iterator[str]:
    """Of each month and each day of so many years until now, and of one month to come."""
    yield rfc3339(NOW.replace(day=1, hour=0) + timedelta(days=30))
    for back in range(365 * years):
        day = NOW - timedelta(days=back)
        yield f"DAY#{day.date()}"
        if day.day == 1:
            yield rfc3339(day.replace(hour=0))


@given(
    st.sets(st.tuples(st.sampled_from(METERS), st.sampled_from([*starts(1)]), st.integers(0, 12)), max_size=60),
    st.integers(1, 7),
)
def test_all_shards_of_the_period_and_nothing_else(stored: set[tuple[str, str, int]], page: int) -> None:
    """Whatever the pages, also of meters whose names begin alike; none of another workspace."""
    store = MemoryStore()
    store.put_all(Table.RECORDS, (counter(*one) for one in stored))
    store.put_all(Table.RECORDS, [counter("a", START, workspace_id=f"{WORKSPACE}x")])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counters, "PAGE", page)
        found = [(item["meter"], START, item["sk"].rpartition("#")[2]) for item in counters_in(store, WORKSPACE, START)]

    assert sorted(found) == sorted((meter, start, str(shard)) for meter, start, shard in stored if start == START)


@given(
    st.sets(st.tuples(st.sampled_from(METERS), st.sampled_from([*starts(1)]), st.integers(0, 12)), max_size=60),
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    st.integers(1, 7),
)
def test_days_and_periods_are_told_apart(stored: set[tuple[str, str, int]], since: date, page: int) -> None:
    """All periods, and the days from one on, in the order of meters and time."""
    store = MemoryStore()
    store.put_all(Table.RECORDS, (counter(*one) for one in stored))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counters, "PAGE", page)
        periods, days = periods_of(store, WORKSPACE), days_since(store, WORKSPACE, since)
        found = [[(item["meter"], item["period_start"]) for item in some] for some in (periods, days)]

    named = [(meter, start.rpartition("#")[2], start.startswith("DAY#")) for meter, start, _ in stored]
    assert found[0] == sorted((meter, start) for meter, start, is_day in named if not is_day)
    assert found[1] == sorted((meter, day) for meter, day, is_day in named if is_day and day >= str(since))


def test_what_was_used_costs_the_same_after_years(ready: Store) -> None:
    """Two requests a meter at most, not all that was counted since the workspace began."""
    ready.put_all(Table.RECORDS, (counter(meter, start) for meter in ("api_calls", "tokens") for start in starts(3)))
    before = ready.requests

    found = used_by(ready, WORKSPACE, now=NOW)

    assert {one.meter: (one.used, one.period_start) for one in found}["api_calls"] == (1, START)
    assert ready.requests - before <= 2 + 2 * 2 + 1

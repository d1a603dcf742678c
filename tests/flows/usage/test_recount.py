"""An operator can set counters right by the lake, and list what was refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, totals, void

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Key, Table, Update
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.usage.counters import used_in
from nilometer.flows.usage.known import Known
from nilometer.flows.usage.recount import recount

LATER = NOW + timedelta(hours=1)
PERIOD = "2026-11-01T00:00:00.000Z"


def rows(total: str, count: int, meter: str = "api_calls", *levels: Any) -> list[tuple[Any, ...]]:
    more = levels or (None, None, None)
    return [(meter, start, Decimal(total), count, *more) for start in (PERIOD, "DAY#2026-11-23")]


def damage(store: Store) -> None:
    """Somebody wrote to a counter by hand."""
    key = Key(f"WORKSPACE#{WORKSPACE}", f"USAGE#api_calls#{PERIOD}#0")
    store.commit([Update(table=Table.RECORDS, key=key, add={"total": 5, "version": 1})])


def test_a_dry_run_says_what_differs_and_changes_nothing(ready: Store, objects: Objects) -> None:
    """The operator sees both numbers first."""
    handle(ready, objects, cloud("a"))
    damage(ready)

    [found] = recount(ready, WORKSPACE, rows("10", 1), now=LATER).corrections

    assert (found.counted, found.lake) == ((15, 1), (10, 1))
    assert totals(ready) == {"api_calls": 15}


def test_a_recount_sets_counters_right(ready: Store, objects: Objects) -> None:
    """Once: the second finds nothing to do."""
    handle(ready, objects, cloud("a"))
    damage(ready)

    assert len(recount(ready, WORKSPACE, rows("10", 1), now=LATER, dry_run=False).corrections) == 1
    assert recount(ready, WORKSPACE, rows("10", 1), now=LATER + timedelta(hours=1)).corrections == []
    assert totals(ready) == totals(ready, "day") == {"api_calls": 10}


def test_what_changed_a_moment_ago_is_left_alone(ready: Store, objects: Objects) -> None:
    """The lake may not have it yet."""
    handle(ready, objects, cloud("a"))

    found = recount(ready, WORKSPACE, [], now=NOW + timedelta(minutes=1), dry_run=False)

    assert found.corrections == []
    assert {(name.meter, name.scope) for name in found.unsettled} == {("api_calls", "day"), ("api_calls", "period")}
    assert totals(ready) == {"api_calls": 10}


def test_a_level_that_was_voided_is_counted_again(ready: Store, objects: Objects) -> None:
    """The void marked it; the lake knows the largest that is left."""
    for id_, quantity in (("a", "5"), ("b", "9")):
        handle(ready, objects, cloud(id_, meter="seats", unit="seat", quantity=quantity, type_="usage.snapshot.v1"))
    handle(ready, objects, void("b"))

    recount(ready, WORKSPACE, rows("5", 1, "seats", Decimal(5), Decimal(5), "x"), now=LATER, dry_run=False)

    [counter] = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#seats#2026")
    assert (counter["max"], counter["stale"]) == (5, False)


@pytest.mark.parametrize(("meter", "unit", "left"), [("seats", "seat", "11"), ("disk", "gb", "3")])
def test_a_voided_level_of_many_shards_is_counted_again(
    meter: str, unit: str, left: str, ready: Store, objects: Objects
) -> None:
    """In one transaction over all of them; a second recount finds nothing to do, and usage goes on."""
    key = keys.workspace(WORKSPACE)
    ready.commit([Update(table=Table.RECORDS, key=key, set={"shards": 4}, add={"version": 1})])
    levels = ("11", "7", "2", "5", "1", "8", "6", "4", "9", "10", "3", "12")  # in the order of time
    for minute, level in enumerate(levels):
        at = NOW - timedelta(minutes=20 - minute)
        event = cloud(level, meter=meter, unit=unit, quantity=level, type_="usage.snapshot.v1", time=at)
        handle(ready, objects, event)
    handle(ready, objects, void("12"))
    stamp = rfc3339(NOW - timedelta(minutes=10))
    lake = rows("66", 11, meter, Decimal(11), Decimal(3), f"{stamp} /services/inference 3")

    assert len(recount(ready, WORKSPACE, lake, now=LATER, dry_run=False).corrections) == 2
    again = recount(ready, WORKSPACE, lake, now=LATER + timedelta(hours=1))
    assert (again.corrections, again.uncorrectable, totals(ready)) == ([], [], {meter: 66})
    assert used_in(ready, WORKSPACE, Known(ready).meters([meter])[meter], PERIOD) == Decimal(left)

    handle(ready, objects, cloud("n", meter=meter, unit=unit, quantity="20", type_="usage.snapshot.v1"))
    assert used_in(ready, WORKSPACE, Known(ready).meters([meter])[meter], PERIOD) == 20


def test_a_voided_value_is_said_to_be_uncorrectable(ready: Store, objects: Objects) -> None:
    """Nothing claims to correct it; what its counter adds up to is corrected all the same."""
    for one in "ab":
        handle(ready, objects, cloud(one, meter="users", unit="user", quantity="1", dimensions={"user": one}))
    handle(ready, objects, void("b"))

    found = recount(ready, WORKSPACE, rows("1", 1, "users"), now=LATER, dry_run=False)
    assert (found.corrections, {name.meter for name in found.uncorrectable}) == ([], {"users"})
    assert len(found.uncorrectable) == 2

    found = recount(ready, WORKSPACE, rows("2", 1, "users"), now=LATER, dry_run=False)
    assert (len(found.corrections), len(found.uncorrectable), totals(ready)) == (2, 2, {"users": 2})


def test_rejects_are_listed_newest_first(ready: Store, objects: Objects) -> None:
    """Over several days, without what has expired."""
    handle(ready, objects, cloud("a", quantity="x"))
    handle(ready, objects, cloud("b", unit="token", time=NOW + timedelta(days=2)), now=NOW + timedelta(days=2))
    later = NOW + timedelta(days=3)

    found = list(listed(ready, "usage", since=NOW, now=later))

    assert [item["reason"] for item in found] == ["unit_mismatch", "quantity_invalid"]
    assert list(listed(ready, "usage", since=later, now=later)) == []
    assert list(listed(ready, "usage", since=NOW, now=NOW + timedelta(days=50))) == []

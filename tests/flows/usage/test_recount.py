"""An operator can set counters right by the lake, and list what was refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, totals, void

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.store.writes import Key, Table, Update
from nilometer.flows.inbox.rejects import listed
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


def test_rejects_are_listed_newest_first(ready: Store, objects: Objects) -> None:
    """Over several days, without what has expired."""
    handle(ready, objects, cloud("a", quantity="x"))
    handle(ready, objects, cloud("b", unit="token", time=NOW + timedelta(days=2)), now=NOW + timedelta(days=2))
    later = NOW + timedelta(days=3)

    found = list(listed(ready, "usage", since=NOW, now=later))

    assert [item["reason"] for item in found] == ["unit_mismatch", "quantity_invalid"]
    assert list(listed(ready, "usage", since=later, now=later)) == []
    assert list(listed(ready, "usage", since=NOW, now=NOW + timedelta(days=50))) == []

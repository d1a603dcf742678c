"""The usage table of the lake, fed by the facts alone, equals the counters: voids, gauges and moved periods too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.landed import LATER, Landed, by_period, periods
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, totals, void

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.store.writes import Table
from nilometer.flows.usage.rebucket import Rebucketed, rebucket
from nilometer.flows.usage.recount import recount


def level(id_: str, quantity: str, **given: Any) -> dict[str, Any]:
    return cloud(id_, meter="seats", unit="seat", quantity=quantity, type_="usage.snapshot.v1", **given)


def history() -> list[dict[str, Any]]:
    """Two days, two months, a void in either order and on another day, gauges."""
    yesterday, october = NOW - timedelta(days=1), NOW - timedelta(days=30)
    return [
        void("b", "v2"),
        cloud("a", quantity="0.000000001", time=yesterday),
        cloud("b", quantity="2"),
        cloud("c", quantity="4", time=october),
        cloud("d", quantity="8"),
        void("a", "v1"),
        level("s1", "9"),
        level("s2", "5"),
        void("s1", "v3"),
    ]


def test_the_lake_equals_the_counters(ready: Store, objects: Objects, landed: Landed) -> None:
    """By period and by day; every fact is a row."""
    handle(ready, objects, *history())
    landed.land()

    reports = landed.verify()

    assert [(report.check, report.differences) for report in reports] == [("counters", []), ("usage_events", [])]
    assert reports[0].compared > 4


def test_a_recount_needs_nothing_but_a_voided_level(ready: Store, objects: Objects, landed: Landed) -> None:
    """The largest seat that was not voided is 5."""
    handle(ready, objects, *history())
    landed.land()

    made = recount(ready, WORKSPACE, landed.ledger.recount(WORKSPACE), now=LATER, dry_run=False)

    assert {one.name.meter for one in made.corrections} == {"seats"}
    counters = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#seats")
    assert [(item["max"], item["count"]) for item in counters] == [(5, 1), (5, 1)]


MIDDLE = datetime(2026, 11, 20, tzinfo=UTC)


def test_facts_move_with_a_boundary_and_the_lake_follows(ready: Store, objects: Objects, landed: Landed) -> None:
    """There and back again: counters, days and rows agree at each step, and a void finds the fact where it is."""
    old = cloud("e", quantity="16", time=NOW - timedelta(days=10))
    handle(ready, objects, *history(), old)
    landed.land()
    identities = sorted(landed.facts(WORKSPACE, NOW - timedelta(days=40)))

    periods(ready, (MIDDLE, MIDDLE + timedelta(days=30)))
    assert rebucket(ready, WORKSPACE, identities, now=LATER).left == 2
    assert rebucket(ready, WORKSPACE, identities, now=LATER, dry_run=False) == Rebucketed(moved=2)
    assert by_period(ready) == {
        ("api_calls", "2026-10-01"): 4,
        ("api_calls", "2026-11-01"): 16,
        ("api_calls", "2026-11-20"): 8,
        ("seats", "2026-11-20"): 5,
    }
    landed.land()
    assert [report.differences for report in landed.verify()] == [[], []]

    periods(ready, (MIDDLE - timedelta(days=15), MIDDLE + timedelta(days=15)))
    assert rebucket(ready, WORKSPACE, identities, now=LATER, dry_run=False) == Rebucketed(moved=3)
    handle(ready, objects, void("d", "v9"))
    assert by_period(ready) == {
        ("api_calls", "2026-10-01"): 4,
        ("api_calls", "2026-11-05"): 16,
        ("seats", "2026-11-05"): 5,
    }
    landed.land()
    assert [report.differences for report in landed.verify()] == [[], []]
    assert rebucket(ready, WORKSPACE, identities, now=LATER, dry_run=False) == Rebucketed()


@pytest.mark.parametrize("dead", [False, True], ids=["before", "after"])
def test_a_move_that_dies_moves_once(dead: bool, ready: Store, objects: Objects) -> None:
    """At any call; run again it finds what was moved in its place."""
    handle(ready, objects, *[cloud(str(n), quantity="1") for n in range(3)])
    periods(ready, (MIDDLE, MIDDLE + timedelta(days=30)))
    identities = [("/services/inference", str(n)) for n in range(3)]
    number, survived = 0, False
    while not survived:
        number += 1
        dying: Any = FaultyStore(ready, dies_at(number, landed=dead))
        try:
            rebucket(dying, WORKSPACE, identities, now=LATER, dry_run=False)
            survived = True
        except Killed:
            assert totals(ready) == {"api_calls": 3}

    rebucket(ready, WORKSPACE, identities, now=LATER, dry_run=False)

    assert by_period(ready) == {("api_calls", "2026-11-20"): 3}

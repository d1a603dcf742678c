"""A boundary that moves is noticed, and the facts follow it without anybody asking."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.landed import Landed, by_period, periods
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle

from nilometer import CreateWorkspace, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.items import marshal
from nilometer.aws.s3 import Objects
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Put, Table, new_item
from nilometer.domain.usage.event import KEPT
from nilometer.domain.usage.period import period_at
from nilometer.domain.usage.rebucket import moved_since
from nilometer.flows.limits.reactions import react
from nilometer.flows.usage.known import Known
from nilometer.flows.usage.rebucket import Moved, run

MIDDLE = datetime.fromisoformat("2026-11-20T00:00:00Z")
SOON, NIGHT, NEXT, LAST = (NOW + timedelta(hours=hours) for hours in (0.5, 2, 26, 74))


def timeline(*days: int, renews: bool = False) -> Item:
    """Periods between these days, counted from now."""
    bounds = [[epoch(NOW + timedelta(days=one)) for one in pair] for pair in itertools.pairwise(days)]
    return {"periods": bounds, "renews": renews}


TIMELINES = st.none() | st.builds(
    lambda days, renews: timeline(*sorted(days), renews=renews),
    st.lists(st.integers(-70, 40), max_size=4, unique=True),
    st.booleans(),
)


@given(TIMELINES, TIMELINES)
@example(timeline(-30, 0, renews=True), timeline(-30, 0, 30))  # a renewal that came late moves nothing
@example(None, timeline(-10, 20))
def test_the_first_instant_that_moved_is_found(before: Item | None, after: Item | None) -> None:
    """By every hour of the days whose facts are kept."""
    hours = [NOW - KEPT + timedelta(hours=hour) for hour in range(int(KEPT.total_seconds() // 3600) + 1)]
    moved = [at for at in hours if period_at(before, at).start != period_at(after, at).start]
    found = moved_since(before, after, now=NOW)

    assert (found is None) == (not moved)
    assert found is None or moved[0] - timedelta(hours=1) < found <= moved[0]


def change(store: Store, before: Item | None) -> Mapping[str, Any]:
    """The billing record's change, as its stream says it."""
    images = {"NewImage": marshal(store.get(Table.RECORDS, keys.billing(WORKSPACE)) or {})}
    return {"dynamodb": {"SequenceNumber": "1", **images, **({"OldImage": marshal(before)} if before else {})}}


def begin(store: Store, *bounds: tuple[datetime, datetime]) -> None:
    """Stripe tells the workspace's periods, and the reader of the stream sees it."""
    before = store.get(Table.RECORDS, keys.billing(WORKSPACE))
    periods(store, *bounds, version=int(before["version"]) + 1 if before else 1)
    for _ in range(2):  # a copy of the change says nothing new
        react([change(store, before)], known=Known(store), now=NOW)


def test_facts_follow_their_period(ready: Store, objects: Objects, landed: Landed) -> None:
    """Not within the hour; the mark stays for three days and until a run finds nothing; counters equal the lake all
    the time."""
    handle(ready, objects, cloud("a", quantity="3"), cloud("b", quantity="4", time=MIDDLE - timedelta(days=1)))
    landed.land()
    begin(ready, (MIDDLE, MIDDLE + timedelta(days=30)))

    assert list(run(ready, landed.facts, now=SOON)) == []
    assert list(run(ready, landed.facts, now=NIGHT, out_of_time=lambda: True)) == []
    assert list(run(ready, landed.facts, now=NIGHT)) == [Moved(workspace_id=WORKSPACE, moved=1, done=False)]
    assert by_period(ready) == {("api_calls", "2026-11-01"): 4, ("api_calls", "2026-11-20"): 3}
    landed.land()
    assert [report.differences for report in landed.verify()] == [[], []]
    nothing, over = (Moved(workspace_id=WORKSPACE, moved=0, done=done) for done in (False, True))
    assert [list(run(ready, landed.facts, now=now)) for now in (NEXT, NEXT, LAST, LAST)] == [[nothing], [], [over], []]


def test_a_mark_outlives_a_lake_that_is_behind(ready: Store, objects: Objects, landed: Landed) -> None:
    """Which has nothing of the day in the first night."""
    handle(ready, objects, cloud("a", quantity="3"))
    begin(ready, (MIDDLE, MIDDLE + timedelta(days=30)))
    first = list(run(ready, lambda *_: [], now=NIGHT))
    landed.land()
    moved = [one.moved for now in (NEXT, LAST) for one in run(ready, landed.facts, now=now)]

    assert (first, moved) == ([Moved(workspace_id=WORKSPACE, moved=0, done=False)], [1, 0])
    assert by_period(ready) == {("api_calls", "2026-11-20"): 3}


def test_a_boundary_that_moves_again_is_looked_at_at_once(ready: Store, objects: Objects, landed: Landed) -> None:
    """Though the workspace was looked at an hour ago."""
    handle(ready, objects, cloud("a", quantity="3"))
    landed.land()
    begin(ready, (MIDDLE - timedelta(days=30), MIDDLE + timedelta(days=30)))
    for _ in range(2):
        list(run(ready, landed.facts, now=NIGHT))
    begin(ready, (MIDDLE, MIDDLE + timedelta(days=30)))

    assert list(run(ready, landed.facts, now=NIGHT)) == [Moved(workspace_id=WORKSPACE, moved=1, done=False)]


def test_a_renewal_that_came_late_marks_nothing(ready: Store) -> None:
    """What was counted by the provisional period is in its place."""
    before = {**timeline(-30, 0, renews=True), "version": 1, "kind": "billing", "workspace_id": WORKSPACE}
    periods(ready, (NOW - timedelta(days=30), NOW), (NOW, NOW + timedelta(days=30)))

    react([change(ready, before)], known=Known(ready), now=NOW)

    assert ready.get(Table.RECORDS, keys.rebucket(WORKSPACE)) is None


def first_change(*, version: int = 1, decided: datetime = NOW, before: Item | None = None) -> Mapping[str, Any]:
    """A billing record of a workspace that has no record of its own, as the stream says that it was written now."""
    of_workspace = {**timeline(-10, 20), "kind": "billing", "workspace_id": "newcomer", "customers": ["acct/test/c"]}
    image = {**of_workspace, "version": version, "updated_at": rfc3339(decided)}
    images = {"NewImage": marshal(image), **({"OldImage": marshal(before)} if before else {})}
    return {"dynamodb": {"SequenceNumber": "1", "ApproximateCreationDateTime": epoch(NOW), **images}}


def bill(store: Store) -> None:
    key = keys.billing("newcomer")
    item = new_item(key, "billing", 1, workspace_id="newcomer", **timeline(-10, 20))
    store.commit([Put(table=Table.RECORDS, item=item)])


def test_a_workspace_that_begins_with_its_billing_record_is_read_once(ready: Store) -> None:
    """Nothing was counted before: no mark, and no question for its counters."""
    bill(ready)
    requests = ready.requests

    react([first_change()], known=Known(ready), now=NOW)

    assert ready.get(Table.RECORDS, keys.rebucket("newcomer")) is None
    assert ready.requests - requests == 2  # the workspace, and the question of this test


def test_a_workspace_that_was_known_before_its_billing_record_is_marked(ready: Store) -> None:
    """It may have been counted by calendar months."""
    bill(ready)
    perform(ready, service("newcomer", "test"), CreateWorkspace(name="Newcomer"), now=NOW)

    react([first_change()], known=Known(ready), now=NOW)

    assert ready.get(Table.RECORDS, keys.rebucket("newcomer")) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"decided": NOW - timedelta(minutes=2)},
        {"before": {**timeline(-20, 10), "version": 1, "kind": "billing", "workspace_id": "newcomer"}},
    ],
    ids=["later version", "put back", "changed"],
)
def test_a_billing_record_that_does_not_begin_is_marked(change: Mapping[str, Any], ready: Store) -> None:
    """A rebuild puts back what was counted by before."""
    bill(ready)

    react([first_change(**change)], known=Known(ready), now=NOW)

    assert ready.get(Table.RECORDS, keys.rebucket("newcomer")) is not None


def test_a_boundary_that_moves_twice_keeps_the_earlier_time(ready: Store, objects: Objects, landed: Landed) -> None:
    """Also when the second move comes while the first is looked at: the mark is not taken away."""
    begin(ready, (MIDDLE - timedelta(days=9), MIDDLE + timedelta(days=30)))
    begin(ready, (MIDDLE - timedelta(days=9), MIDDLE), (MIDDLE, MIDDLE + timedelta(days=30)))
    mark = ready.get(Table.RECORDS, keys.rebucket(WORKSPACE)) or {}
    assert (mark["since"], mark["version"]) == ("2026-11-11T00:00:00.000Z", 2)

    def facts(workspace_id: str, since: datetime) -> list[tuple[str, str]]:
        begin(ready, (MIDDLE - timedelta(days=5), MIDDLE + timedelta(days=30)))
        return list(landed.facts(workspace_id, since))

    landed.land()
    assert list(run(ready, facts, now=NIGHT)) == [Moved(workspace_id=WORKSPACE, moved=0, done=False)]
    assert list(run(ready, landed.facts, now=LAST)) == [Moved(workspace_id=WORKSPACE, moved=0, done=True)]


@pytest.mark.parametrize("dead", [False, True], ids=["before", "after"])
def test_a_night_that_dies_is_done_by_the_next(dead: bool, ready: Store, objects: Objects, landed: Landed) -> None:
    """At any call."""
    handle(ready, objects, *(cloud(str(n), quantity="1") for n in range(3)))
    landed.land()
    begin(ready, (MIDDLE, MIDDLE + timedelta(days=30)))
    number, survived = 0, False
    while not survived:
        number += 1
        try:
            list(run(FaultyStore(ready, dies_at(number, landed=dead)), landed.facts, now=NIGHT))  # type: ignore[arg-type]
            survived = True
        except Killed:
            assert sum(by_period(ready).values()) == 3
    for _ in range(2):
        list(run(ready, landed.facts, now=LAST))

    assert by_period(ready) == {("api_calls", "2026-11-20"): 3}
    assert ready.get(Table.RECORDS, keys.rebucket(WORKSPACE)) is None


def test_a_run_ends_in_time_within_a_workspace(ready: Store, objects: Objects, landed: Landed) -> None:
    """However many facts it has: what is left keeps its mark, and the next run goes on."""
    handle(ready, objects, *(cloud(str(number), quantity="1") for number in range(5)))
    landed.land()
    begin(ready, (MIDDLE, MIDDLE + timedelta(days=30)))
    asked = itertools.count()

    [short] = run(ready, landed.facts, now=LAST, out_of_time=lambda: next(asked) > 2)
    runs = [list(run(ready, landed.facts, now=LAST)) for _ in range(2)]

    assert (short.moved, short.done) == (2, False)
    assert [(one.moved, one.done) for some in runs for one in some] == [(3, False), (0, True)]


@pytest.mark.parametrize("already_right", [False, True])
def test_a_run_without_time_for_all_takes_no_mark_away(
    already_right: bool, ready: Store, objects: Objects, landed: Landed
) -> None:
    """Also where what it has seen was in its place."""
    handle(ready, objects, cloud("a"), cloud("b"))
    landed.land()
    begin(ready, (MIDDLE, MIDDLE + timedelta(days=30)))
    if already_right:
        list(run(ready, landed.facts, now=LAST))
    asked = itertools.count()

    [short] = run(ready, landed.facts, now=LAST, out_of_time=lambda: next(asked) > 0)

    assert (short.moved, short.done) == (0, False)


def test_a_workspace_is_asked_for_by_its_own_name(ready: Store, objects: Objects, landed: Landed) -> None:
    """Whatever is in it."""
    odd = "ws'; drop table usage"
    handle(ready, objects, cloud("a"), cloud("b", time=NOW - timedelta(days=2)))
    landed.land()

    assert sorted(landed.facts(WORKSPACE, NOW - timedelta(days=1))) == [("/services/inference", "a")]
    assert list(landed.facts(odd, NOW - timedelta(days=9))) == []

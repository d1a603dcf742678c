"""A limit says what is left, and every crossed threshold is announced once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.limits import alerts, changes, limited, look, records, use
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, outcomes

from nilometer.aws.dynamodb import Store
from nilometer.aws.items import marshal
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.limits.limit import State
from nilometer.domain.limits.reached import LIMIT_BLOCKED, THRESHOLD_REACHED, reached
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339
from nilometer.domain.store.writes import Item, Put, Table, new_item
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.limits.reactions import react
from nilometer.flows.limits.thresholds import check
from nilometer.flows.usage.known import Known


@pytest.mark.parametrize(
    ("used", "state", "allowed", "remaining"),
    [
        (10, State.OK, True, 90),
        (80, State.WARNING, True, 20),
        (95, State.WARNING, False, 5),
        (100, State.BLOCKED, False, 0),
    ],
)
def test_a_limit_that_blocks(
    used: int, state: State, allowed: bool, remaining: int, ready: Store, objects: Objects
) -> None:
    """Ten more may be used as long as they fit."""
    limited(ready, included=100, overage="block")
    use(ready, objects, used, "a")

    found = check(Known(ready), WORKSPACE, "api_calls", quantity=Decimal(10), now=NOW)

    assert (found.state, found.allowed, found.remaining, found.used) == (state, allowed, remaining, used)
    assert (found.period_start, found.resets_at) == ("2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z")


def test_what_is_over_the_included_may_cost(ready: Store, objects: Objects) -> None:
    """Without a hard limit usage goes on, and the state says so."""
    limited(ready, included=100, overage="allow")
    use(ready, objects, 150, "a")

    found = check(Known(ready), WORKSPACE, "api_calls", quantity=Decimal(10), now=NOW)

    assert (found.state, found.allowed, found.remaining) == (State.SOFT_EXCEEDED, True, 0)


def test_grace_ends(ready: Store, objects: Objects) -> None:
    """Work goes on for the grace after the hard limit was reached, then it stops."""
    limited(ready, included=100, hard=120, grace="3d")
    use(ready, objects, 130, "a")
    look(ready)

    known = Known(ready)
    soon = check(known, WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW + timedelta(days=2))
    late = check(known, WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW + timedelta(days=4))

    assert (soon.state, soon.allowed) == (State.GRACE, True)
    assert (late.state, late.allowed) == (State.BLOCKED, False)


def test_nothing_limits_what_has_no_limit(ready: Store) -> None:
    """A workspace without a billing record, and one that is not known."""
    for workspace in (WORKSPACE, "ws_nobody"):
        found = check(Known(ready), workspace, "api_calls", quantity=Decimal(10), now=NOW)

        assert (found.allowed, found.state, found.remaining) == (True, State.UNLIMITED, None)
    with pytest.raises(Rejected):
        check(Known(ready), WORKSPACE, "nothing", quantity=Decimal(1), now=NOW)


@pytest.mark.parametrize("fail_open", [True, False])
def test_the_meter_says_what_happens_when_nobody_can_tell(fail_open: bool, ready: Store) -> None:
    """Fail open or closed, by meter."""
    meter = ready.get(Table.RECORDS, keys.meter("api_calls")) or {}
    ready.commit([Put(table=Table.RECORDS, item={**meter, "fail_open": fail_open})])
    known = Known(ready)
    known.meters(["api_calls"])

    def away(*_: Any) -> None:
        raise Unavailable("away")

    known.store = FaultyStore(ready, away)  # type: ignore[assignment]

    found = check(known, WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW)

    assert (found.allowed, found.state) == (fail_open, State.UNKNOWN)


def test_every_crossed_threshold_is_told_once(ready: Store, objects: Objects) -> None:
    """However often its counter changes; a jump crosses several."""
    limited(ready, included=100, thresholds=[50, 80, 100], overage="block")
    use(ready, objects, 49, "a")
    look(ready)
    assert alerts(ready) == []

    use(ready, objects, 36, "b")
    for _ in range(3):
        look(ready)
    assert alerts(ready) == [("50", "v1"), ("80", "v1")]

    use(ready, objects, 15, "c")
    look(ready)
    assert alerts(ready) == [("100", "v1"), ("50", "v1"), ("80", "v1"), ("hard", "v1")]


def test_an_alert_has_its_cause_and_when_grace_ends(ready: Store, objects: Objects) -> None:
    """The cause is the usage event whose change was looked at; only where a hard limit has a grace, work ends later."""
    limited(ready, included=100, hard=120, grace="3d")
    use(ready, objects, 130, "a")
    counters = records(list(ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#", consistent=True)))
    react(counters, known=Known(ready), now=NOW)

    found = {item["threshold"]: item for item in ready.scan(Table.RECORDS, kind="alert")}
    [fact] = ready.scan(Table.EVENTS, kind="usage_event")
    assert {item["cause"] for item in found.values()} == {fact["event_id"]}
    assert parse_rfc3339(found["hard"]["grace_ends_at"]) == NOW + timedelta(days=3)
    assert [name for name, item in found.items() if "grace_ends_at" in item] == ["hard"]
    told = [one for item in found.values() if (one := reached(None, item))]
    assert sorted(one.type for one in told) == [LIMIT_BLOCKED, *[THRESHOLD_REACHED] * 3]
    assert {one.data.get("blocked_from") for one in told} == {None, found["hard"]["grace_ends_at"]}
    assert [reached(item, item) for item in found.values()] == [None] * 4


def test_a_hard_limit_alone_warns_and_is_told(ready: Store, objects: Objects) -> None:
    """Nothing is included: thresholds and the warning are of where it stops; of two amounts they are of the lesser."""
    limited(ready, hard=100)
    use(ready, objects, 85, "a")
    look(ready)
    warned = check(Known(ready), WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW)
    limited(ready, included=1000, hard=100, version="v2")
    use(ready, objects, 15, "b")
    look(ready)

    assert (warned.state, warned.allowed) == (State.WARNING, True)
    assert alerts(ready) == [("100", "v2"), ("50", "v1"), ("50", "v2"), ("80", "v1"), ("80", "v2"), ("hard", "v2")]


def test_a_limit_that_falls_below_the_usage_is_told(ready: Store, objects: Objects) -> None:
    """The plan changed, not the usage; each version of a limit is announced again."""
    limited(ready, included=1000)
    use(ready, objects, 600, "a")
    look(ready)
    limited(ready, included=500, version="v2")

    look(ready)

    assert alerts(ready) == [("100", "v2"), ("50", "v1"), ("50", "v2"), ("80", "v2")]


@pytest.mark.parametrize(("days_ago", "renews", "told"), [(2, False, False), (0, False, True), (2, True, True)])
def test_late_usage_is_not_judged_by_todays_limit(
    days_ago: int, renews: bool, told: bool, ready: Store, objects: Objects
) -> None:
    """A smaller plan began yesterday; while the renewal is not known yet, the provisional period is that of now."""
    ends = NOW - timedelta(days=3 if renews else 1)
    known = [[epoch(ends - timedelta(days=30)), epoch(ends)]]
    known += [] if renews else [[epoch(ends), epoch(ends + timedelta(days=30))]]
    limited(ready, included=300, overage="block")
    record = ready.get(Table.RECORDS, keys.billing(WORKSPACE)) or {}
    ready.commit([Put(table=Table.RECORDS, item={**record, "periods": known, "renews": renews})])
    event = cloud("late", quantity="400", time=NOW - timedelta(days=days_ago))
    assert outcomes(handle(ready, objects, event)) == ["accepted"]
    look(ready)

    assert [threshold for threshold, _ in alerts(ready)] == (["100", "50", "80", "hard"] if told else [])


def test_usage_that_is_ahead_of_its_period_is_told(ready: Store, objects: Objects) -> None:
    """A service's clock is minutes ahead; perhaps nothing is used later that could tell it."""
    begins = NOW + timedelta(minutes=2)
    limited(ready, included=300, overage="block")
    record = ready.get(Table.RECORDS, keys.billing(WORKSPACE)) or {}
    periods = [[epoch(begins - timedelta(days=30)), epoch(begins)], [epoch(begins), epoch(begins + timedelta(days=30))]]
    ready.commit([Put(table=Table.RECORDS, item={**record, "periods": periods})])
    assert outcomes(handle(ready, objects, cloud("early", quantity="400", time=begins))) == ["accepted"]
    look(ready)

    assert ("hard", "v1") in alerts(ready)


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_reader_that_dies_tells_it_once(landed: bool, ready: Store, objects: Objects) -> None:
    """At any call; the stream delivers the batch again."""
    limited(ready, included=100)
    use(ready, objects, 100, "a")
    batch = changes(ready)
    survived, number = False, 0
    while not survived:
        number += 1
        try:
            react(batch, known=Known(FaultyStore(ready, dies_at(number, landed=landed))), now=NOW)  # type: ignore[arg-type]
            survived = True
        except Killed:
            react(batch, known=Known(ready), now=NOW)
            for item in list(ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="ALERT#")):
                assert item["version"] == 1
    assert alerts(ready) == [("100", "v1"), ("50", "v1"), ("80", "v1")]


def test_an_unread_record_comes_again(ready: Store, objects: Objects) -> None:
    """When the tables do not answer, the stream goes on from there."""
    limited(ready, included=100)
    use(ready, objects, 100, "a")
    batch = changes(ready)

    def away(*_: Any) -> None:
        raise Unavailable("away")

    results = react(batch, known=Known(FaultyStore(ready, away)), now=NOW)  # type: ignore[arg-type]

    assert outcomes(results).count("failed") == 2
    assert alerts(ready) == []


def test_one_read_is_for_all_workspaces_of_a_batch(ready: Store) -> None:
    """Only the counters are asked for one by one."""
    limited(ready, included=100)
    billing = ready.get(Table.RECORDS, keys.billing(WORKSPACE)) or {}
    others = [{**billing, "pk": keys.billing(f"ws_{n}").pk, "workspace_id": f"ws_{n}"} for n in range(30)]
    ready.put_all(Table.RECORDS, others)
    batch, known = records(others), Known(ready)
    react(batch[:1], known=known, now=NOW)
    once = ready.requests
    react(batch[:1], known=known, now=NOW)
    each, before = ready.requests - once, ready.requests

    react(batch, known=known, now=NOW)

    assert ready.requests - before == 1 + 30 * (each - 1)


@pytest.mark.parametrize(
    ("changed", "asks"),
    [
        ({"payment_method": {"id": "pm_2"}, "open_invoices": [{"id": "in_1"}], "version": 2}, False),
        ({"limit_rules": {"api_calls": {"source": "plan", "version": "v2", "included": 5}}, "version": 2}, True),
        ({"periods": [[epoch(NOW) - 9, epoch(NOW) + 9]], "version": 2}, True),
        ({"customers": ["self/test/cus_2"], "version": 2}, True),
    ],
)
def test_a_change_of_what_nobody_is_limited_by_asks_nothing(changed: Item, asks: bool, ready: Store) -> None:
    """Each look asks for the counters of every limit, and a workspace has many events about invoices and cards."""
    limited(ready, included=10)
    before = ready.get(Table.RECORDS, keys.billing(WORKSPACE)) or {}
    ready.commit([Put(table=Table.RECORDS, item=before | changed)])
    [record] = records([before | changed])
    told = {**record, "dynamodb": {**record["dynamodb"], "OldImage": marshal(before)}}
    requests = ready.requests

    [result] = react([told], known=Known(ready), now=NOW)

    assert (result.outcome, ready.requests > requests) == (Outcome.IGNORED, asks)


def test_a_workspace_that_cannot_be_read_fails_alone(ready: Store, objects: Objects) -> None:
    """Its neighbours are told of what they reached."""
    limited(ready, included=100)
    use(ready, objects, 100, "a")
    key = keys.workspace("ws_bad")
    ready.commit([Put(table=Table.RECORDS, item=new_item(key, "workspace", 1, workspace_id="ws_bad", shards="many"))])
    counters = list(ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#", consistent=True))
    batch = records([{**counters[0], "scope": "period", "workspace_id": "ws_bad"}, *counters])

    results = react(batch, known=Known(ready), now=NOW)

    assert outcomes(results)[0] == "rejected"
    assert alerts(ready) == [("100", "v1"), ("50", "v1"), ("80", "v1")]


@pytest.mark.parametrize("rule", [{}, {"included": None}, {"included": "many"}, {"included": 1, "thresholds": "x"}])
def test_a_rule_that_cannot_be_read_breaks_nothing(rule: dict[str, Any], ready: Store, objects: Objects) -> None:
    """An operator wrote it into a catalog: usage goes on."""
    limited(ready, **rule)
    use(ready, objects, 0, "a")

    assert check(Known(ready), WORKSPACE, "api_calls", quantity=Decimal(1), now=NOW).allowed
    assert "failed" not in outcomes(look(ready))

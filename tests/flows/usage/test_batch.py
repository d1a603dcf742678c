"""Usage events are counted exactly once, or kept with the reason why not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.operations import NOW, envelope
from tests.support.flows.usage import WORKSPACE, batch, changed, cloud, handle, outcomes, totals, void
from tests.support.project import EVENTS

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Put, Table
from nilometer.flows.recovery.overview import usage_of

SAMPLES = sorted((EVENTS / "usage").glob("*.json"))


def rejects(store: Store) -> list[dict[str, Any]]:
    return list(store.query(Table.EVENTS, "REJECT#usage#2026-11-23"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_counted_once(path: Path, ready: Store, objects: Objects) -> None:
    """The samples in `events/` are what a service may send; a copy changes nothing."""
    body = path.read_text()

    assert outcomes(handle(ready, objects, body, now=NOW)) == ["accepted"]
    assert outcomes(handle(ready, objects, body, now=NOW)) == ["duplicate"]


@pytest.mark.parametrize("depth", [95, 101, 900, 3_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_an_element_that_nests_too_deep_is_refused_alone(
    ready: Store, objects: Objects, depth: int, opening: str
) -> None:
    """With its own payload as it came; the elements beside it count."""
    deep = opening * depth + ("" if opening == "[" else "1") + ("]" if opening == "[" else "}") * depth
    odd = cloud("odd", dimensions={"model": "HERE"})
    body = envelope(batch([cloud("a"), odd, cloud("b")])).replace('"HERE"', deep)

    [result] = handle(ready, objects, body)
    [kept] = rejects(ready)

    assert result.outcome is Outcome.REJECTED
    assert (result.fields["events_accepted"], result.fields["events_rejected"]) == (2, 1)
    assert kept["payload"] == json.dumps(odd).replace('"HERE"', deep)
    assert kept["event_id"] == "odd"


def test_events_are_counted_per_period_and_per_day(ready: Store, objects: Objects) -> None:
    """Both counters hold the same sum, and the facts are kept."""
    first, second = cloud("a", quantity="1.5"), cloud("b", quantity=2, time=NOW - timedelta(days=1))

    assert outcomes(handle(ready, objects, first, second)) == ["accepted", "accepted"]
    assert totals(ready) == totals(ready, "day") == {"api_calls": Decimal("3.5")}
    fact = ready.get(Table.EVENTS, keys.usage_event("/services/inference", "a")) or {}
    assert (fact["quantity"], fact["period_start"], fact["time"]) == (
        Decimal("1.5"),
        "2026-11-01T00:00:00.000Z",
        "2026-11-23T12:00:00.000Z",
    )
    assert fact["expires_at"] == int((NOW + timedelta(days=40)).timestamp())


def test_copies_change_nothing(ready: Store, objects: Objects) -> None:
    """In the same batch, in a later one, and inside a batch event."""
    event = cloud("a")

    assert outcomes(handle(ready, objects, event, event)) == ["accepted", "duplicate"]
    assert outcomes(handle(ready, objects, batch([event, cloud("b")]), event)) == ["accepted", "duplicate"]
    assert totals(ready) == {"api_calls": 20}


def test_a_batch_inherits_what_its_elements_leave_out(ready: Store, objects: Objects) -> None:
    """Source and subject are written once; identity is the same as if sent alone."""
    element = {"id": "a", "time": NOW.isoformat(), "data": cloud()["data"]}
    whole = batch([element, {**element, "id": "b"}]) | {"subject": WORKSPACE}

    assert outcomes(handle(ready, objects, whole)) == ["accepted"]
    assert outcomes(handle(ready, objects, cloud("a"))) == ["duplicate"]
    assert totals(ready) == {"api_calls": 20}


def test_a_bad_element_does_not_touch_its_neighbours(ready: Store, objects: Objects) -> None:
    """Only the bad one is kept as a reject, alone, so that it can be corrected and sent again."""
    [result] = handle(ready, objects, batch([cloud("a"), cloud("b", unit="token"), {"id": 1}]))

    assert totals(ready) == {"api_calls": 10}
    assert result.fields["events_accepted"] == 1
    assert sorted(kept["reason"] for kept in rejects(ready)) == ["invalid_schema", "unit_mismatch"]
    assert json.loads(next(kept["payload"] for kept in rejects(ready) if kept["event_id"] == "b"))["id"] == "b"


def test_an_id_that_is_used_again_does_not_hide_its_copy(ready: Store, objects: Objects) -> None:
    """One element with a counted id and another payload is refused; the one with the same payload is a duplicate, and
    the message ends."""
    handle(ready, objects, cloud("x", quantity="1"))

    [result] = handle(ready, objects, batch([cloud("x", quantity="2"), cloud("x", quantity="1"), cloud("n")]))

    assert result.outcome is Outcome.REJECTED
    assert [result.fields[f"events_{name}"] for name in ("rejected", "duplicate", "accepted")] == [1, 1, 1]
    assert [kept["reason"] for kept in rejects(ready)] == ["id_reuse"]


def test_an_id_that_is_used_again_while_it_waits_does_not_hide_its_copy(ready: Store, objects: Objects) -> None:
    """Of a workspace that nobody knows yet."""
    given: dict[str, Any] = {"workspace": "new"}
    handle(ready, objects, cloud("x", quantity="1", **given))

    [result] = handle(ready, objects, batch([cloud("x", quantity="2", **given), cloud("x", quantity="1", **given)]))

    assert (result.fields["events_rejected"], result.fields["events_waiting"]) == (1, 1)


def test_a_void_that_is_wrong_is_wrong_as_often_as_it_is_sent(ready: Store, objects: Objects) -> None:
    """With the same payload and with another one, in one batch; what is right beside it counts."""
    perform(ready, service("other", "test"), CreateWorkspace(name="B"), now=NOW)
    handle(ready, objects, cloud("theirs", workspace="other"), cloud("ours"))
    voids = [void("theirs"), void("theirs"), void("ours"), void("theirs")]

    [result] = handle(ready, objects, batch([*voids, cloud("n", quantity="7")]))

    assert (result.outcome, result.fields["events_accepted"]) == (Outcome.REJECTED, 2)
    assert result.fields["events_rejected"] == 3
    assert totals(ready) == {"api_calls": 7}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (cloud(quantity=1.5), "quantity_invalid"),
        (cloud(quantity="1e3"), "quantity_invalid"),
        (cloud(quantity="-1"), "quantity_invalid"),
        (cloud(quantity="1234567890123456"), "quantity_invalid"),
        (cloud(quantity="0.0000000001"), "quantity_invalid"),
        (cloud(quantity="١"), "quantity_invalid"),
        (cloud(quantity=None), "quantity_invalid"),
        (cloud(quantity=10**4000), "quantity_invalid"),
        (envelope(cloud(quantity=77)).replace("77", "7" * 5000), "quantity_invalid"),
        (envelope(cloud("odd")).replace("odd", r"\ud800"), "invalid_schema"),
        (cloud(unit="token"), "unit_mismatch"),
        (cloud(meter="x" * 3000), "unknown_meter"),
        (cloud(meter=""), "unknown_meter"),
        (cloud(time=NOW - timedelta(days=35, seconds=1)), "too_old"),
        (cloud(time=NOW + timedelta(minutes=6)), "too_far_in_future"),
        (cloud(type_="usage.snapshot.v1"), "invalid_schema"),
        (cloud(type_="usage.guessed.v1"), "invalid_schema"),
        (cloud(dimensions={"region": "eu"}), "invalid_schema"),
        (cloud(dimensions={f"d{n}": "x" for n in range(9)}), "too_large"),
        (cloud(dimensions={"model": "x" * 200}), "too_large"),
        (cloud("x" * 300), "too_large"),
        (cloud("é" * 200), "too_large"),
        (cloud("#" * 100), "too_large"),
        (cloud() | {"extension": "x" * 20_000}, "too_large"),
        (cloud(""), "invalid_schema"),
        (cloud() | {"specversion": "0.3"}, "invalid_schema"),
        (cloud() | {"time": "2026-11-23T04:14:05"}, "invalid_schema"),
        (cloud() | {"time": "0001-01-01T00:00:00+05:00"}, "invalid_schema"),
        (cloud() | {"data": {**cloud()["data"], "dimension": {}}}, "invalid_schema"),
        (cloud() | {"subject": ""}, "invalid_schema"),
        (cloud() | {"data": []}, "invalid_schema"),
        (batch([]), "invalid_schema"),
        (batch([cloud(str(n)) for n in range(101)]), "too_large"),
        ('{"detail-type": "usage.recorded.v1"}', "invalid_schema"),
        ("\N{SNOWMAN}", "invalid_schema"),
    ],
)
def test_what_is_wrong_for_good_is_kept_with_its_reason(
    event: Any, reason: str, ready: Store, objects: Objects
) -> None:
    """It is not delivered again, its neighbours are counted, and nothing of it is."""
    results = handle(ready, objects, cloud("n1"), event, cloud("n2"))

    [kept] = rejects(ready)
    assert outcomes(results) == ["accepted", "rejected", "accepted"]
    assert (kept["reason"], results[1].fields["reason"]) == (reason, reason)
    assert totals(ready) == {"api_calls": 20}


def test_an_inactive_meter_takes_no_usage(ready: Store, objects: Objects) -> None:
    """Its events are rejected, not lost."""
    meter = ready.get(Table.RECORDS, keys.meter("api_calls")) or {}
    ready.commit([Put(table=Table.RECORDS, item={**meter, "active": False})])

    assert outcomes(handle(ready, objects, cloud())) == ["rejected"]
    assert [kept["reason"] for kept in rejects(ready)] == ["meter_inactive"]


def test_an_identity_with_another_payload_is_rejected(ready: Store, objects: Objects) -> None:
    """In one batch and across batches; the first stays. Another spelling of the same content is no reuse."""
    assert outcomes(handle(ready, objects, cloud("a"), cloud("a", quantity="11"))) == ["accepted", "rejected"]
    assert outcomes(handle(ready, objects, cloud("a", quantity="12"), cloud("a", quantity="10.0"))) == [
        "rejected",
        "duplicate",
    ]
    assert outcomes(handle(ready, objects, cloud("a", quantity="10.000"))) == ["duplicate"]
    assert outcomes(handle(ready, objects, cloud("a", time=NOW - timedelta(seconds=1)))) == ["rejected"]
    assert totals(ready) == {"api_calls": 10}
    assert {kept["reason"] for kept in rejects(ready)} == {"id_reuse"}


def test_a_rejected_identity_may_be_corrected(ready: Store, objects: Objects) -> None:
    """A rejected id is not marked as processed."""
    assert outcomes(handle(ready, objects, cloud("a", unit="token"), cloud("a"))) == ["rejected", "accepted"]


def test_usage_of_an_unknown_workspace_waits_and_is_counted(ready: Store, objects: Objects) -> None:
    """Also far more than one transaction holds; copies and reused ids are distinguished while it waits."""
    events = [cloud(str(n), workspace="ws_new", quantity="1") for n in range(250)]
    assert set(outcomes(handle(ready, objects, *events))) == {"waiting"}
    assert outcomes(handle(ready, objects, events[0], cloud("1", workspace="ws_new", quantity="7"))) == [
        "waiting",
        "rejected",
    ]
    assert totals(ready, workspace="ws_new") == {}

    perform(ready, service("ws_new", "test"), CreateWorkspace(name="New"), now=NOW)
    assert outcomes(handle(ready, objects, changed("ws_new"))) == ["accepted"]

    assert totals(ready, workspace="ws_new") == {"api_calls": 250}
    assert list(ready.query(Table.EVENTS, "WAITING#ws_new")) == []
    before = ready.requests
    assert outcomes(handle(ready, objects, changed("ws_new"))) == ["ignored"]
    assert ready.requests - before == 1  # whether anything waits


def test_usage_sent_together_with_its_meter_waits_and_is_counted(ready: Store, objects: Objects) -> None:
    """The bus keeps no order: it is seen to wait, and counted once when the meter is created."""
    early, copy = cloud(meter="pages", unit="page"), cloud(meter="pages", unit="page")
    assert outcomes(handle(ready, objects, early, copy, cloud("good"))) == ["waiting", "waiting", "accepted"]
    assert outcomes(handle(ready, objects, early)) == ["waiting"]
    assert usage_of(ready, WORKSPACE, now=NOW).waiting_for_meters == {"pages": 1}

    perform(ready, operator("test"), CreateMeter(meter="pages", unit="page", aggregation="sum"), now=NOW)
    created = changed(None, "meter", "METER#pages")
    assert outcomes(handle(ready, objects, created)) == ["accepted"]
    assert outcomes(handle(ready, objects, early, created)) == ["duplicate", "ignored"]
    assert (totals(ready)["pages"], totals(ready)["api_calls"]) == (10, 10)
    assert usage_of(ready, WORKSPACE, now=NOW).waiting_for_meters == {}


def test_what_waited_for_workspace_and_meter_waits_for_one_after_the_other(ready: Store, objects: Objects) -> None:
    """And is counted once, whichever is known first."""
    assert outcomes(handle(ready, objects, cloud(meter="pages", unit="page", workspace="ws_new"))) == ["waiting"]
    perform(ready, operator("test"), CreateMeter(meter="pages", unit="page", aggregation="sum"), now=NOW)
    created = changed(None, "meter", "METER#pages")
    assert outcomes(handle(ready, objects, created)) == ["accepted"]
    found = usage_of(ready, "ws_new", now=NOW)
    assert (found.waiting, found.waiting_for_meters) == (1, {})

    perform(ready, service("ws_new", "test"), CreateWorkspace(name="New"), now=NOW)
    assert outcomes(handle(ready, objects, changed("ws_new"))) == ["accepted"]
    assert totals(ready, workspace="ws_new") == {"pages": 10}


def test_what_waited_is_judged_by_its_first_arrival(ready: Store, objects: Objects) -> None:
    """Thirty days later it is counted; when the wait was too long it is rejected, not lost."""
    old = cloud("a", workspace="ws_new", time=NOW - timedelta(days=20))
    handle(ready, objects, old, cloud("b", workspace="ws_late"))
    for workspace in ("ws_new", "ws_late"):
        perform(ready, service(workspace, "test"), CreateWorkspace(name="New"), now=NOW)

    soon = handle(ready, objects, changed("ws_new", "billing"), now=NOW + timedelta(days=30))
    late = handle(ready, objects, changed("ws_late"), now=NOW + timedelta(days=36))

    assert outcomes(soon + late) == ["accepted", "accepted"]
    assert totals(ready, workspace="ws_new") == {"api_calls": 10}
    assert totals(ready, workspace="ws_late") == {}
    [kept] = ready.query(Table.EVENTS, "REJECT#usage#2026-12-29")
    assert (kept["reason"], kept["event_id"], kept["workspace_id"]) == ("unknown_workspace", "b", "ws_late")


def test_other_changes_are_not_for_us(ready: Store, objects: Objects) -> None:
    """A change of a record of another kind is ignored."""
    assert outcomes(handle(ready, objects, changed(WORKSPACE, "meter"))) == ["ignored"]


def test_gauges_keep_the_largest_and_the_latest_level(ready: Store, objects: Objects) -> None:
    """Whatever the order of arrival and however the events are grouped."""

    def level(id_: str, meter: str, unit: str, quantity: str, minutes: int) -> dict[str, Any]:
        time = NOW - timedelta(minutes=minutes)
        return cloud(id_, meter=meter, unit=unit, quantity=quantity, time=time, type_="usage.snapshot.v1")

    handle(ready, objects, level("s2", "seats", "seat", "7", 2), level("d1", "disk", "gb", "3", 1))
    handle(ready, objects, level("s1", "seats", "seat", "5", 1), level("d2", "disk", "gb", "9", 2))

    counters = {item["meter"]: item for item in ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#")}
    assert counters["seats"]["max"] == 7
    assert counters["disk"]["latest"] == 3
    assert counters["disk"]["count"] == 2


def test_a_level_may_come_as_a_recorded_event(ready: Store, objects: Objects) -> None:
    """A producer need not know how a meter counts: the quantity is the level at its time, and is not added."""
    levels = [cloud(f"s{level}", meter="seats", unit="seat", quantity=level) for level in ("3", "7", "5")]

    assert outcomes(handle(ready, objects, *levels)) == ["accepted"] * 3
    assert outcomes(handle(ready, objects, *levels)) == ["duplicate"] * 3
    [counter] = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#seats#2026")
    assert (counter["max"], counter["count"]) == (7, 3)


def test_what_comes_after_the_grace_is_late(ready: Store, objects: Objects) -> None:
    """It counts in its period, and the total at the close of the period can still be read. Voids too."""
    october = datetime(2026, 10, 30, tzinfo=UTC)
    closed = datetime(2026, 11, 4, tzinfo=UTC)
    in_time = [cloud(one, time=october) for one in ("a", "b")]
    handle(ready, objects, *in_time, now=closed - timedelta(seconds=1))
    [at_close] = usage_of(ready, WORKSPACE, now=closed, at=october).meters

    handle(ready, objects, cloud("c", time=october, quantity="3"), void("a", time=closed), *in_time, now=closed)
    handle(ready, objects, cloud("s", time=october, meter="seats", unit="seat"), now=closed)
    calls, seats = usage_of(ready, WORKSPACE, now=closed, at=october).meters

    assert (at_close.closed, at_close.used, at_close.late_delta) == (True, 20, 0)
    assert (calls.used, calls.late_delta, calls.late_count) == (13, 13 - at_close.used, 0)
    assert (seats.used, seats.late_delta, seats.late_count) == (10, None, 1)
    assert totals(ready) == totals(ready, "day")


def test_no_usage_is_late_before_its_period_is_closed(ready: Store, objects: Objects) -> None:
    """The current period and the one in its grace."""
    early = datetime(2026, 11, 3, 23, tzinfo=UTC)
    handle(ready, objects, cloud("a", time=early), cloud("b", time=early - timedelta(days=5)), now=early)

    periods = [usage_of(ready, WORKSPACE, now=early, at=early - timedelta(days=days)).meters[0] for days in (0, 5)]
    assert [(one.closed, one.late_delta, one.used) for one in periods] == [(False, 0, 10)] * 2


def test_a_void_takes_an_event_back_in_either_order(ready: Store, objects: Objects) -> None:
    """Counters and the sum of the facts agree, copies change nothing, and the usage may be recorded anew."""
    events = [cloud("a", quantity="1"), cloud("b", quantity="2"), cloud("c", quantity="4")]

    assert outcomes(handle(ready, objects, void("c", "v3"), *events, void("a"))) == ["accepted"] * 5
    assert outcomes(handle(ready, objects, void("z", "v4"))) == ["accepted"]
    assert outcomes(handle(ready, objects, void("z", "v4"), cloud("z", quantity="8"))) == ["duplicate", "accepted"]
    assert totals(ready) == totals(ready, "day") == {"api_calls": 6 - 4}
    again = handle(ready, objects, void("a"), void("c", "v3"), cloud("z", quantity="8"), *events, void("b", "v5"))
    assert outcomes(again) == ["duplicate"] * 6 + ["accepted"]
    assert totals(ready) == {"api_calls": 0}
    assert sum(item["quantity"] for item in ready.scan(Table.EVENTS, kind="usage_event")) == 0
    handle(ready, objects, cloud("a2", quantity="3"))
    assert totals(ready) == {"api_calls": 3}


def test_two_voids_of_one_event_take_it_back_once(ready: Store, objects: Objects) -> None:
    """Also when both came before it."""
    handle(ready, objects, cloud("a"), void("a", "v1"), void("a", "v2"))
    handle(ready, objects, void("b", "v3"), void("b", "v4"))
    handle(ready, objects, cloud("b"))

    assert totals(ready) == {"api_calls": 0}
    assert sum(item["quantity"] for item in ready.scan(Table.EVENTS, kind="usage_event")) == 0


@pytest.mark.parametrize(
    "bad",
    [
        void("a", workspace="ws_other"),
        void("v1", "v1"),
        void("v0", "v9"),
        void("a") | {"data": {"id": "a", "time": "2026-01-01T00:00:00Z"}},
        void("a") | {"data": {"id": "x" * 300}},
        void("a") | {"data": {"event": "a"}},
    ],
)
def test_a_void_that_cannot_be_is_rejected(bad: dict[str, Any], ready: Store, objects: Objects) -> None:
    """Another workspace's usage, a void, itself, or what is too old to be found: nothing is taken back."""
    perform(ready, service("ws_other", "test"), CreateWorkspace(name="Other"), now=NOW)
    handle(ready, objects, cloud("a"), cloud("b"), void("b", "v0"))

    assert outcomes(handle(ready, objects, bad)) == ["rejected"]
    assert totals(ready) == {"api_calls": 10}


def test_a_void_of_a_level_marks_the_counter(ready: Store, objects: Objects) -> None:
    """A maximum cannot be taken back by itself: it says that it has to be counted again."""
    seats = cloud("s", meter="seats", unit="seat", quantity="9", type_="usage.snapshot.v1")
    handle(ready, objects, seats, void("s"))

    [counter] = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#seats#2026")
    assert (counter["count"], counter["stale"]) == (0, True)


def test_unique_values_are_counted_once(ready: Store, objects: Objects) -> None:
    """Within a batch, across batches, and again on another day."""

    def seen(id_: str, user: str, days: int = 0) -> dict[str, Any]:
        time = NOW - timedelta(days=days)
        return cloud(id_, meter="users", unit="user", quantity="1", dimensions={"user": user}, time=time)

    handle(ready, objects, seen("1", "ann"), seen("2", "bob"), seen("3", "ann"))
    handle(ready, objects, seen("4", "ann"), seen("5", "ann", days=1), seen("6", "cid", days=1))

    counters = {
        item["sk"].split("#")[2] if item["scope"] == "period" else item["period_start"][:10]: item["unique"]
        for item in ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#users")
    }
    assert counters == {"2026-11-01T00:00:00.000Z": 3, "2026-11-23": 2, "2026-11-22": 2}


def test_a_unique_value_is_remembered_in_a_period_that_grows(ready: Store, objects: Objects) -> None:
    """A trial is extended by the most that Stripe allows; its last day's late events know the value too."""
    start, ends = NOW - timedelta(days=5), NOW + timedelta(days=9)
    grown = ends + timedelta(days=730)
    key = keys.billing(WORKSPACE)
    for version, end in enumerate((ends, grown), 1):
        periods = [[int(start.timestamp()), int(end.timestamp())]]
        record = {"pk": key.pk, "sk": key.sk, "kind": "billing", "version": version, "workspace_id": WORKSPACE}
        ready.commit([Put(table=Table.RECORDS, item=record | {"periods": periods})])
        now = NOW if version == 1 else grown + timedelta(days=34)
        gone = [item for item in ready.scan(Table.EVENTS) if item["expires_at"] < now.timestamp()]  # by its TTL
        ready.delete_all(Table.EVENTS, [Key(item["pk"], item["sk"]) for item in gone])
        time = NOW if version == 1 else grown - timedelta(minutes=1)
        event = cloud(f"e{version}", meter="users", unit="user", quantity="1", time=time, dimensions={"user": "u"})
        assert outcomes(handle(ready, objects, event, now=now)) == ["accepted"]

    [counter] = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#users#2026")
    assert (counter["unique"], counter["count"]) == (1, 2)


def test_many_unique_values_fit_their_transactions(ready: Store, objects: Objects) -> None:
    """Each brings two items of its own: chunks shrink, and the number is exact."""
    events = [
        cloud(str(n), meter="users", unit="user", quantity="1", dimensions={"user": f"u{n % 70}"}) for n in range(150)
    ]
    handle(ready, objects, *events)

    [counter] = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#users#2026")
    assert (counter["unique"], counter["count"]) == (70, 150)


def test_a_chunk_cancelled_by_one_duplicate_keeps_its_neighbours(ready: Store, objects: Objects) -> None:
    """The pre-read missed the duplicate: pruning by reasons counts the 89 others."""
    handle(ready, objects, cloud("5", quantity="1"))
    blind = _BlindStore(ready)

    results = handle(blind, objects, *[cloud(str(n), quantity="1") for n in range(90)])  # type: ignore[arg-type]

    assert outcomes(results).count("accepted") == 89
    assert results[5].outcome is Outcome.DUPLICATE
    assert totals(ready) == {"api_calls": 90}


class _BlindStore:
    """A store whose eventually consistent reads are behind."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def batch_get(self, table: Table, wanted: Any, *, consistent: bool = False, **given: Any) -> Any:
        if table is Table.EVENTS and not consistent:
            return {}
        return self._store.batch_get(table, wanted, consistent=consistent, **given)


def test_the_deadline_fails_only_what_is_not_settled(ready: Store, objects: Objects) -> None:
    """The rest comes again and is counted then."""
    clock = iter([30.0] * 2 + [0.0] * 100)
    events = [cloud(str(n), quantity="1") for n in range(250)]

    results = handle(ready, objects, *events, remaining=lambda: next(clock))

    assert outcomes(results).count("accepted") == totals(ready)["api_calls"]
    assert 0 < outcomes(results).count("failed") < 250
    handle(ready, objects, *events)
    assert totals(ready) == {"api_calls": 250}


def test_shards_add_up(ready: Store, objects: Objects) -> None:
    """A hot workspace's counter is spread over several items."""
    record = ready.get(Table.RECORDS, keys.workspace(WORKSPACE)) or {}
    ready.commit([Put(table=Table.RECORDS, item={**record, "shards": 8})])

    handle(ready, objects, *[cloud(str(n), quantity="1") for n in range(600)])

    assert totals(ready) == {"api_calls": 600}
    counters = ready.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#api_calls#2026")
    assert len(list(counters)) > 1

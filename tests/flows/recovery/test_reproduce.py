"""The comparison of `reproduce`: it sees every difference that matters and none that another clock makes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.recovery.trace import Trace, TracedEvent
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Table, new_item
from nilometer.flows.recovery.reproduce import Scene, compared, not_later

BILLING = keys.billing("acme")
DAY = keys.counter("acme", "calls", "DAY#2026-11-29", 0)


def scene(after: dict[Key, Any], before: dict[Key, Any], items: tuple[Any, ...] = ()) -> Scene:
    event = TracedEvent(kind="stripe_event", event_id="evt_1", source="self")
    return Scene(trace=Trace(identity=event, hops=(), gaps=()), after=after, before=before, items=items)


def test_a_field_that_differs_is_named(store: Store) -> None:
    """With both values; versions, times and causes are another run's own."""
    there = new_item(BILLING, "billing", workspace_id="acme", plan="pro", seats=3, updated_at="a", cause="evt_1")
    here = {**there, "plan": "free", "version": 9, "updated_at": "b", "cause": "evt_2"}
    store.put_all(Table.RECORDS, [here])

    [one] = compared(scene({BILLING: there}, {BILLING: {}}), store)

    assert one.differs == {"plan": ("pro", "free")}


def test_a_record_that_is_missing_differs_in_all(store: Store) -> None:
    """Nothing came of it here."""
    there = new_item(BILLING, "billing", workspace_id="acme", plan="pro")

    [one] = compared(scene({BILLING: there}, {BILLING: {}}), store)

    assert one.differs["plan"] == ("pro", None)


def test_a_counter_is_compared_by_what_was_added_over_its_shards(store: Store) -> None:
    """Which shard takes a batch is chance."""

    def counter(shard: int, total: int, count: int) -> dict[str, Any]:
        key = keys.counter("acme", "calls", "DAY#2026-11-29", shard)
        return new_item(key, "counter", workspace_id="acme", total=Decimal(total), count=count, scope="day")

    before, after = counter(0, 10, 2), counter(0, 15, 4)
    store.put_all(Table.RECORDS, [before, counter(3, 5, 2)])

    [equal] = compared(scene({DAY: after}, {DAY: before}, (before,)), store)
    store.put_all(Table.RECORDS, [counter(3, 6, 2)])
    [other] = compared(scene({DAY: after}, {DAY: before}, (before,)), store)

    assert equal.ok
    assert other.differs == {"total": (5, 6)}


def test_what_began_first_and_was_written_last_is_left_out() -> None:
    """Its batch ran beside ours. What the audit does not name goes by the second of its batch, as before."""
    rows = [{"event_id": name} for name in ("before", "with", "after", "unnamed")]
    written = {"before": (99, "7"), "with": (100, "5"), "after": (100, "6")}

    known = [row["event_id"] for row in not_later(rows, written, (100, "5"))]

    assert known == ["before", "with", "unnamed"]

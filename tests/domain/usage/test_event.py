"""The laws of usage: exact quantities, one hash a content, a closed window, chunks that fit, any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.domain.events.cloudevents import CloudEvent
from nilometer.domain.store.writes import Less, Update
from nilometer.domain.usage.counter import (
    ACTIONS,
    NOTHING_STORED,
    CounterDelta,
    StoredBefore,
    UsageGroup,
    chunks,
    counter_writes,
)
from nilometer.domain.usage.event import (
    KEPT,
    UsageEvent,
    check_window,
    fact,
    is_source_of,
    parse_quantity,
    usage_event,
    workspace_source,
)
from nilometer.domain.usage.meter import Aggregation, Meter
from nilometer.domain.usage.period import Period
from nilometer.domain.usage.total import exact_sum, used
from nilometer.domain.usage.waiting import Missing, waiting
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PERIOD = Period(start=datetime(2026, 11, 1, tzinfo=UTC), end=datetime(2026, 12, 1, tzinfo=UTC))
QUANTITIES = st.decimals("0", "999999999999999.999999999", places=9)
IDS = st.text("a/%25F#", min_size=1, max_size=6)
MOMENTS = st.integers(0, 90 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))


def event(id_: str = "e1", *, quantity: str | int = "1", time: datetime = NOW, **given: Any) -> UsageEvent:
    context = CloudEvent(id=id_, source="/s", type="usage.recorded.v1", time=time, subject="ws")
    data = {"meter": "calls", "unit": "call", "dimensions": {}, **given}
    return usage_event(context, quantity=quantity, **data)


@given(QUANTITIES)
def test_a_quantity_is_exact(quantity: Decimal) -> None:
    """15 digits before and 9 after the point survive; no float is ever between."""
    assert parse_quantity(format(quantity, "f")) == quantity


@pytest.mark.parametrize(
    "text", ["", "-0", "+1", "1.", ".5", "1e3", "NaN", "Infinity", "1,5", " 1", "1\n", "1" * 16, "0." + "1" * 10, "٣"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """Nothing is rounded, trimmed or guessed."""
    with pytest.raises(Rejected) as caught:
        parse_quantity(text)

    assert caught.value.reason == "quantity_invalid"


@given(IDS, IDS, st.text("a/%25F#", max_size=6))
def test_no_workspace_has_a_source_of_another(ours: str, theirs: str, more: str) -> None:
    """Also when an id holds what separates or escapes: a source is one workspace's or nobody's."""
    sources = [workspace_source(ours), f"{workspace_source(ours)}/{more}"]

    assert all(is_source_of(one, ours) for one in sources)
    assert ours == theirs or not any(is_source_of(one, theirs) for one in sources)


@given(QUANTITIES, st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4))
def test_a_hash_is_of_the_content(quantity: Decimal, dimensions: dict[str, str]) -> None:
    """Spelling and order do not matter; every part of the content does."""
    first = event(quantity=format(quantity, "f"), dimensions=dimensions)
    again = event(quantity=format(quantity.normalize(), "f"), dimensions=dict(reversed(dimensions.items())))
    others = [
        event(quantity=format(quantity, "f"), dimensions={**dimensions, "more": "x"}),
        event(quantity=format(quantity, "f"), dimensions=dimensions, meter="other"),
        event(quantity=format(quantity, "f"), dimensions=dimensions, time=NOW - timedelta(milliseconds=1)),
        event(quantity=format(exact_sum([quantity, Decimal(1)]), "f")[-20:], dimensions=dimensions),
    ]

    assert again.payload_hash == first.payload_hash
    assert first.payload_hash not in {other.payload_hash for other in others}


@given(MOMENTS, MOMENTS, MOMENTS)
def test_no_copy_outlives_its_fact(time: datetime, first: datetime, copy: datetime) -> None:
    """Whenever a copy would be accepted after the first, the fact of the first is still kept."""
    try:
        check_window(time, arrival=first)
        check_window(time, arrival=copy)
    except Rejected:
        return
    expires_at = fact(event(time=time), PERIOD, received_at=first, now=first).item["expires_at"]

    assert copy.timestamp() < expires_at


@given(MOMENTS, MOMENTS)
def test_what_waits_does_not_outlive_the_fact_of_its_copy(received: datetime, counted: datetime) -> None:
    """A copy is counted after its workspace became known, so after the wait began; the waiting item ends before."""
    if counted < received:
        return
    missing = Missing(workspace_id="ws")
    waits_until = waiting(event("e1"), missing, payload="{}", received_at=received).item["expires_at"]
    kept_until = fact(event(time=received), PERIOD, received_at=counted, now=counted).item["expires_at"]

    assert waits_until <= kept_until


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 22), QUANTITIES), min_size=1, max_size=300
).map(
    lambda rows: [
        event(
            str(n),
            meter=meter,
            time=NOW - timedelta(days=days),
            quantity=format(quantity, "f"),
            dimensions={"user": str(quantity)},
        )
        for n, (meter, days, quantity) in enumerate(rows)
    ]
)
ALL = {
    "a": Meter(slug="a", unit="call", aggregation=Aggregation.SUM),
    "b": Meter(slug="b", unit="call", aggregation=Aggregation.MAX),
    "c": Meter(slug="c", unit="call", aggregation=Aggregation.LATEST),
    "d": Meter(slug="d", unit="call", aggregation=Aggregation.UNIQUE, dimensions=("user",)),
}


@given(EVENTS)
def test_chunks_fit_a_transaction_and_hold_every_event_once(events: list[UsageEvent]) -> None:
    """Facts and counters together; the counters of all chunks add up to the sum of the events."""
    group = UsageGroup("ws", PERIOD, ALL)
    parts = chunks(group, events)
    writes = [counter_writes(group, group.deltas(p), NOTHING_STORED, shard=0, cause="e", now=NOW) for p in parts]

    assert all(len(part) + len(counters) <= ACTIONS for part, counters in zip(parts, writes, strict=True))
    assert all(len({write.key for write in counters}) == len(counters) for counters in writes)
    assert sorted(one.id for part in parts for one in part) == sorted(one.id for one in events)
    for scope in ("period", "day"):
        updates = [write for counters in writes for write in counters if isinstance(write, Update)]
        added = [write.add["total"] for write in updates if write.set["scope"] == scope]
        assert exact_sum(map(Decimal, added)) == exact_sum(one.quantity for one in events)


def test_a_usual_batch_makes_full_transactions() -> None:
    """One meter and one day: 98 events a transaction, 2.04 write units each."""
    parts = chunks(UsageGroup("ws", PERIOD, {"calls": ALL["a"]}), [event(str(n)) for n in range(980)])

    assert [len(part) for part in parts] == [98] * 10


@given(EVENTS, st.randoms())
def test_a_tally_does_not_depend_on_order(events: list[UsageEvent], chance: Any) -> None:
    """Sum, count, maximum and latest of any order of the same events."""
    shuffled = list(events)
    chance.shuffle(shuffled)

    def delta(of: list[UsageEvent]) -> CounterDelta:
        made = CounterDelta()
        for one in of:
            made.add(one)
        return made

    assert delta(events) == delta(shuffled)


@given(EVENTS, st.integers(1, 5))
def test_gauges_do_not_depend_on_grouping(events: list[UsageEvent], parts: int) -> None:
    """Applied part by part with their conditions, the stored levels are those of the whole."""
    group = UsageGroup("ws", PERIOD, ALL)
    stored: dict[Any, dict[str, Any]] = {}
    for start in range(parts):
        for name, delta in group.deltas(events[start::parts]).items():
            write = counter_writes(group, {name: delta}, StoredBefore(stored, set()), shard=0, cause="e", now=NOW)[0]
            assert isinstance(write, Update)
            item = stored.setdefault(name, {})
            if isinstance(write.expected, Less):
                assert item.get(write.expected.attribute) is None or (
                    item[write.expected.attribute] < write.expected.value  # type: ignore[operator]
                )
            item.update(write.set)

    for name, delta in group.deltas(events).items():
        if ALL[name.meter].aggregation is Aggregation.MAX:
            assert used(Aggregation.MAX, [stored[name]]) == delta.max
        if ALL[name.meter].aggregation is Aggregation.LATEST:
            assert used(Aggregation.LATEST, [stored[name]]) == delta.latest


def test_a_sum_is_wider_than_a_context() -> None:
    """Counters have up to 38 digits; Python's default context would round after 28."""
    large = Decimal("99999999999999999999999999999.000000001")

    assert str(exact_sum([large, Decimal("0.000000001")])) == "99999999999999999999999999999.000000002"


def test_a_fact_is_kept_for_its_window() -> None:
    """From its time or its arrival, whichever is later."""
    early = fact(event(time=NOW - timedelta(days=30)), PERIOD, received_at=NOW, now=NOW)

    assert early.item["expires_at"] == int((NOW + KEPT).timestamp())

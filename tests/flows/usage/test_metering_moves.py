"""Usage that moves to another period is at Stripe once, whenever it is sent, moved or voided."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.faulty import FaultyStore, Killed, dies_at
from tests.support.flows.landed import by_period
from tests.support.flows.limits import look
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, Recording, cloud, handle, void
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer import CreateMeter, CreateWorkspace, UpdateMeter, operator, perform, service
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Put, Table
from nilometer.domain.stripe.event import Scope
from nilometer.flows.usage.known import Known
from nilometer.flows.usage.metering import drain, outbox
from nilometer.flows.usage.rebucket import Rebucketed, rebucket

START, MIDDLE, END = (NOW + timedelta(days=days) for days in (-20, -1, 10))
FIRST, SECOND = START.date().isoformat(), MIDDLE.date().isoformat()


def bill(store: Store, *bounds: tuple[datetime, datetime]) -> None:
    """A customer whose subscription had these periods."""
    ends = [[epoch(start), epoch(end)] for start, end in bounds]
    items = [{"id": "si_1", "current_period_start": ends[-1][0], "current_period_end": ends[-1][1]}]
    view = {"object": "subscription", "status": "active", "version": 1, "items": items, "periods": ends}
    inputs = with_views(Inputs(), "self/test/cus_1", {"sub_1": view})
    key, version = keys.billing(WORKSPACE), len(bounds)
    item = record_item(key, inputs, workspace_id=WORKSPACE, version=version, cause="evt", updated_at="now")
    store.commit([Put(table=Table.RECORDS, item=item)])


def begin(store: Store) -> None:
    """Stripe bills the meter, in one period."""
    perform(store, operator("test"), UpdateMeter(meter="api_calls", stripe_event_name="calls"), now=NOW)
    bill(store, (START, END))


def split(store: Store) -> None:
    """The period ended in the middle."""
    bill(store, (START, MIDDLE), (MIDDLE, END))


def tell(store: Store, stripe: Recording) -> None:
    look(store)
    list(drain(Known(store), stripe, scope=Scope(), now=NOW))  # type: ignore[arg-type]


def move(store: Store, *ids: str) -> Rebucketed:
    found = [("/services/inference", one) for one in ids]
    return rebucket(store, WORKSPACE, found, now=NOW, dry_run=False)


def use(store: Store, objects: Objects, id_: str, quantity: str, *, at: datetime = NOW) -> None:
    handle(store, objects, cloud(id_, quantity=quantity, time=at))


def test_what_stripe_has_moves_with_the_usage(ready: Store, objects: Objects) -> None:
    """What it has not is sent."""
    begin(ready)
    stripe = Recording()
    use(ready, objects, "a", "3", at=MIDDLE - timedelta(days=1))
    use(ready, objects, "b", "1000")
    tell(ready, stripe)
    use(ready, objects, "c", "20")
    split(ready)
    assert move(ready, "a", "b", "c") == Rebucketed(moved=2)
    tell(ready, stripe)

    assert by_period(ready) == {("api_calls", FIRST): 3, ("api_calls", SECOND): 1020}
    assert [event.value for event in stripe.events.values()] == [1003, 20]
    assert list(outbox(ready)) == []


def test_usage_waits_while_a_delta_of_its_period_is_pending(ready: Store, objects: Objects) -> None:
    """What Stripe has of it is not known."""
    begin(ready)
    stripe = Recording(loses=1)
    use(ready, objects, "a", "7")
    tell(ready, stripe)
    split(ready)
    waits = move(ready, "a")
    tell(ready, stripe)

    assert (waits, move(ready, "a")) == (Rebucketed(left=1), Rebucketed(moved=1))
    tell(ready, stripe)
    assert (stripe.total, by_period(ready)) == (7, {("api_calls", SECOND): 7})


@pytest.mark.parametrize("has_sent", [False, True])
def test_a_drain_that_has_read_the_counter_is_cancelled_by_a_move(
    has_sent: bool, ready: Store, objects: Objects
) -> None:
    """Whether Stripe has some of it or nothing."""
    begin(ready)
    stripe = Recording()
    if has_sent:
        use(ready, objects, "a", "7")
        tell(ready, stripe)
    use(ready, objects, "b", "5")
    look(ready)
    split(ready)

    class Slow(Store):
        """Its query of a counter is answered, and then another one moves what was read."""

        def query(self, *args: Any, **given: Any) -> Any:
            found = list(ready.query(*args, **given))
            move(ready, "a", "b")
            return iter(found)

    slow: Any = object.__new__(Slow)
    vars(slow).update(vars(ready))
    list(drain(Known(slow), stripe, scope=Scope(), now=NOW))  # type: ignore[arg-type]
    for _ in range(2):
        tell(ready, stripe)

    assert by_period(ready) == {("api_calls", SECOND): 12 if has_sent else 5}
    assert stripe.total == (12 if has_sent else 5)


@pytest.mark.parametrize("dead", [False, True], ids=["before", "after"])
def test_a_move_that_dies_at_any_call_bills_once(dead: bool, ready: Store, objects: Objects) -> None:
    """Run again it ends with all at Stripe once."""
    begin(ready)
    stripe = Recording()
    use(ready, objects, "a", "3")
    tell(ready, stripe)
    split(ready)
    number, survived = 0, False
    while not survived:
        number += 1
        dying: Any = FaultyStore(ready, dies_at(number, landed=dead))
        try:
            move(dying, "a")
            survived = True
        except Killed:
            tell(ready, stripe)
    move(ready, "a")
    tell(ready, stripe)

    assert (stripe.total, by_period(ready)) == (3, {("api_calls", SECOND): 3})


def test_a_meter_that_counts_moves_one_for_each(ready: Store, objects: Objects) -> None:
    """Its quantities are not what Stripe has."""
    create = CreateMeter(meter="jobs", unit="job", aggregation="count", stripe_event_name="jobs")
    perform(ready, operator("test"), create, now=NOW)
    begin(ready)
    stripe = Recording()
    handle(ready, objects, *(cloud(str(n), meter="jobs", unit="job", quantity="50") for n in range(3)))
    tell(ready, stripe)
    split(ready)
    move(ready, "0", "1", "2")
    tell(ready, stripe)

    assert stripe.total == 3


DEEDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["early", "late"]), st.integers(1, 9)),
        st.tuples(st.sampled_from(["void", "move"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["tell", "lose", "split"]), st.just(0)),
    ),
    max_size=14,
)


@given(DEEDS)
@example([("late", 9), ("tell", 0), ("split", 0), ("move", 0)])
@example([("late", 9), ("lose", 0), ("split", 0), ("late", 2), ("move", 0), ("move", 1)])
def test_stripe_ends_at_what_was_counted(deeds: list[tuple[str, int]]) -> None:
    """Whatever the order; only what was voided after it was sent is more there."""
    store, objects, stripe = MemoryStore(), MemoryObjects(), Recording()
    perform(store, operator("test"), CreateMeter(meter="api_calls", unit="call", aggregation="sum"), now=NOW)
    perform(store, service(WORKSPACE, "test"), CreateWorkspace(name="Acme"), now=NOW)
    begin(store)
    ids: list[str] = []
    voided = Decimal(0)
    for number, (deed, value) in enumerate(deeds):
        if deed in {"early", "late"}:
            ids.append(str(number))
            at = MIDDLE - timedelta(days=1) if deed == "early" else NOW
            use(store, objects, ids[-1], str(value), at=at)  # type: ignore[arg-type]
        elif deed == "void" and value < len(ids):
            handle(store, objects, void(ids[value], f"v{ids[value]}"))  # type: ignore[arg-type]
            voided += 9
        elif deed == "move":
            move(store, *ids[value : value + 1])
        elif deed in {"tell", "lose"}:
            stripe.loses = int(deed == "lose")
            tell(store, stripe)
        elif deed == "split":
            split(store)
    stripe.loses = 0
    split(store)
    for _ in range(2):
        tell(store, stripe)
        move(store, *ids)
    tell(store, stripe)

    counted = sum(by_period(store).values())
    assert counted <= stripe.total <= counted + voided
    assert list(outbox(store)) == []

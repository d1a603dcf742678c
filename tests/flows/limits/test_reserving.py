"""A hard limit holds while work is on its way: what is reserved cannot be reserved twice, and comes back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.support.faulty import FaultyStore, Killed, dies_at, together
from tests.support.flows.limits import limited, look
from tests.support.flows.operations import NOW
from tests.support.flows.reservations import ask, jobs, left
from tests.support.flows.usage import WORKSPACE, cloud, handle, outcomes, prepare, totals, void
from tests.support.stores.memory import MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.store.writes import Put, Table
from nilometer.errors import Cancelled, Refused, Rejected, Unavailable
from nilometer.flows.limits.reserving import Reserved, release, sweep
from nilometer.flows.usage.known import Known


def using(id_: str, reservation: str, quantity: int = 10, **given: Any) -> dict[str, Any]:
    event = cloud(id_, quantity=str(quantity), **given)
    return event | {"data": {**event["data"], "reservation_id": reservation}}


@pytest.fixture
def known(ready: Store) -> Known:
    """A hard limit of 100 calls."""
    limited(ready, included=100, overage="block")
    return Known(ready)


def test_what_is_reserved_cannot_be_reserved_again(known: Known, objects: Objects) -> None:
    """Usage that was counted before counts too; a smaller wish may still pass."""
    handle(known.store, objects, cloud("a", quantity="75"))

    assert [ask(known, "r1").granted, ask(known, "r2").granted] == [True, True]
    assert ask(known, "r3") == Reserved(granted=False, remaining=Decimal(5))
    assert ask(known, "r4", 5).granted
    assert left(known.store) == (0, 25)


def test_the_same_reservation_again_is_the_same_answer(known: Known) -> None:
    """An answer was lost and the caller asks again: nothing more is held."""
    assert [ask(known, "r1").granted for _ in range(3)] == [True] * 3
    assert left(known.store) == (90, 10)
    with pytest.raises(Refused):
        ask(known, "r1", 11)


def test_the_same_reservation_again_beside_others_is_the_same_answer(known: Known) -> None:
    """Its second try meets another's transaction, while it holds all that is left itself."""
    ask(known, "r1", 100)
    conflicts = iter([Cancelled(["TransactionConflict", "None"])])

    def fault(call: str, _number: int, landed: bool) -> None:
        if call == "commit" and not landed and (error := next(conflicts, None)):
            raise error

    store: Any = FaultyStore(known.store, fault)

    assert ask(Known(store), "r1", 100).granted
    assert left(known.store) == (0, 100)


def test_many_who_reserve_at_once_get_what_there_is(known: Known) -> None:
    """Twenty want ten each of a hundred: ten get it."""
    answers: list[bool] = []

    def want(n: int) -> None:
        while True:
            try:
                answers.append(ask(known, f"r{n}").granted)
            except Unavailable:
                continue
            return

    together([lambda n=n: want(n) for n in range(20)])  # type: ignore[misc]

    assert (answers.count(True), left(known.store)) == (10, (0, 100))


@pytest.mark.parametrize(("used", "remaining"), [(10, 90), (4, 96), (15, 85)])
def test_usage_settles_its_reservation(used: int, remaining: int, known: Known, objects: Objects) -> None:
    """In its own transaction: what it did not use comes back, what it used more is taken; a copy changes nothing."""
    ask(known, "r1")

    assert outcomes(handle(known.store, objects, using("a", "r1", used))) == ["accepted"]
    assert outcomes(handle(known.store, objects, using("a", "r1", used))) == ["duplicate"]
    assert left(known.store) == (remaining, 0)
    assert totals(known.store) == {"api_calls": used}
    with pytest.raises(Refused):
        ask(known, "r1")


def test_a_second_event_of_a_reservation_is_counted_like_any_other(known: Known, objects: Objects) -> None:
    """Also one that names a reservation that nobody made, or that has ended."""
    ask(known, "r1")
    release(known, "r1", workspace_id=WORKSPACE, now=NOW)

    events = [using("a", "r1"), using("b", "nothing")]
    assert outcomes(handle(known.store, objects, *events)) == ["accepted", "accepted"]
    assert totals(known.store) == {"api_calls": 20}
    look(known.store)
    assert left(known.store) == (80, 0)


def test_what_is_released_comes_back_once(known: Known) -> None:
    """The second time says that it had ended."""
    ask(known, "r1")

    assert release(known, "r1", workspace_id=WORKSPACE, now=NOW)
    assert not release(known, "r1", workspace_id=WORKSPACE, now=NOW)
    assert left(known.store) == (100, 0)


def test_the_sweeper_releases_what_nobody_settled(known: Known) -> None:
    """Not before its time, and once, though two sweep at the same moment."""
    ask(known, "r1")
    ask(known, "r2", ttl=timedelta(hours=20))

    assert sweep(known.store, now=NOW + timedelta(minutes=4)) == 0
    swept: list[int] = []
    together([lambda: swept.append(sweep(known.store, now=NOW + timedelta(minutes=6))) for _ in range(2)])
    assert (sum(swept), left(known.store)) == (1, (90, 10))
    assert sweep(known.store, now=NOW + timedelta(hours=21)) == 1


def opened_by_an_earlier_version(memory: MemoryStore) -> None:
    """The index had a partition an hour, and later four, in which reservations ended."""
    for number, item in enumerate(memory.scan(Table.RECORDS, kind="reservation")):
        part = f"#{number % 4}" if number % 2 else ""
        earlier = {"gsi1pk": f"RESERVED#{item['ends_at'][:13]}{part}", "gsi1sk": f"{item['pk']}#{number}"}
        memory.commit([Put(table=Table.RECORDS, item={**item, **earlier})])


@pytest.fixture
def five() -> Any:
    """In memory, five reservations that end in the course of a day."""
    memory: Any = MemoryStore()
    known = Known(prepare(memory))
    limited(memory, included=100, overage="block")
    for number in range(5):
        ask(known, f"r{number}", ttl=timedelta(hours=5 * number + 1))
    return memory


def test_what_nobody_swept_for_days_is_released_at_once(five: Any) -> None:
    """The schedule was off when its time was over."""
    before = five.requests

    assert (sweep(five, now=NOW + timedelta(days=30)), left(five)) == (5, (100, 0))
    assert five.requests - before < 60


def test_a_sweep_asks_for_what_has_ended_alone(known: Known) -> None:
    """At the very moment of its end, and in the order of the ends; what is open for longer is not read."""
    for number in range(20):
        ask(known, f"r{number}", 1, ttl=timedelta(minutes=number + 1))

    assert sweep(known.store, now=NOW + timedelta(minutes=5, milliseconds=-1)) == 4
    assert sweep(known.store, now=NOW + timedelta(minutes=5)) == 1
    assert sweep(known.store, now=NOW + timedelta(minutes=20)) == 15
    assert left(known.store) == (100, 0)


def test_what_an_earlier_version_opened_is_released_in_time(five: Any) -> None:
    """By the first sweep after its end, with one every five minutes."""
    opened_by_an_earlier_version(five)

    for number in range(5):
        end = NOW + timedelta(hours=5 * number + 1)
        assert [sweep(five, now=end + timedelta(minutes=late)) for late in (-1, 4)] == [0, 1]
    assert left(five) == (100, 0)


def test_what_an_earlier_version_opened_and_nobody_swept_is_released_within_a_day(five: Any) -> None:
    """Each sweep looks at a few of the older hours."""
    opened_by_an_earlier_version(five)
    later, before = NOW + timedelta(days=4), five.requests
    swept = sum(sweep(five, now=later + timedelta(minutes=5 * turn)) for turn in range(288))

    assert (swept, left(five)) == (5, (100, 0))
    assert five.requests - before < 288 * 60


def test_usage_that_was_not_reserved_lowers_what_is_left(known: Known, objects: Objects) -> None:
    """As soon as the reader of the counters sees it; a void raises it again; a new limit applies."""
    ask(known, "r1")
    handle(known.store, objects, cloud("a", quantity="60"))
    look(known.store)
    assert left(known.store) == (30, 10)

    handle(known.store, objects, void("a"))
    look(known.store)
    assert left(known.store) == (90, 10)

    limited(known.store, included=20, overage="block", version="v2")
    look(known.store)
    assert left(known.store) == (10, 10)
    assert not ask(Known(known.store), "r2", 11).granted


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_consumer_that_dies_settles_once(landed: bool, known: Known, objects: Objects) -> None:
    """At any call: fact, counter, reservation and allowance are one transaction."""
    survived, number = False, 0
    while not survived:
        number += 1
        ask(known, f"r{number}", 1)
        event = using(f"e{number}", f"r{number}", 1)
        try:
            handle(FaultyStore(known.store, dies_at(number, landed=landed)), objects, event)  # type: ignore[arg-type]
            survived = True
        except Killed:
            handle(known.store, objects, event)
        assert totals(known.store) == {"api_calls": number}
        assert left(known.store) == (100 - number, 0)


@pytest.mark.parametrize(("held", "reported"), [(1, 0), (1, 1), (1, 7), (10, 10)])
def test_an_event_of_a_count_meter_spends_one(held: int, reported: int, ready: Store, objects: Objects) -> None:
    """Whatever its quantity says, as the counter does."""
    jobs(ready, hard=10)
    known = Known(ready)
    assert ask(known, "r1", held, meter="jobs").granted
    assert outcomes(handle(ready, objects, using("a", "r1", reported, meter="jobs", unit="job"))) == ["accepted"]

    assert left(ready, "jobs") == (9, 0)
    assert not ask(known, "r2", 10, meter="jobs").granted
    assert ask(known, "r3", 9, meter="jobs").granted


@pytest.mark.parametrize("meter", ["seats", "users", "disk"])
def test_a_meter_without_amounts_cannot_be_reserved(meter: str, ready: Store) -> None:
    """A level or a number of values is nothing that can be held; said also where nothing limits it."""
    with pytest.raises(Rejected, match="cannot be reserved") as error:
        ask(Known(ready), "r1", 1, meter=meter)
    assert error.value.reason == "invalid_schema"


def test_nothing_is_held_where_nothing_is_hard(ready: Store) -> None:
    """Everything is granted; a soft limit stops nobody."""
    assert ask(Known(ready), "r1", 10**9) == Reserved(granted=True, remaining=None)
    assert left(ready) == (None, None)


@pytest.mark.parametrize(
    "given", [{"quantity": 0}, {"ttl": timedelta(0)}, {"ttl": timedelta(days=2)}, {"meter": "nothing"}, {"id_": ""}]
)
def test_a_reservation_that_cannot_be_is_refused(given: dict[str, Any], known: Known) -> None:
    """Nothing is held for it."""
    with pytest.raises(Rejected):
        ask(known, **{"id_": "r1", **given})
    assert names(known.store.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="RESERVATION#")) == []


def names(items: Iterable[dict[str, Any]]) -> list[str]:
    return [item["reservation_id"] for item in items]

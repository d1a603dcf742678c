"""Scopes of usage that waits: counted when it is known what it needs, or rejected in the end, never both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import changed, envelope, void
from tests.support.simulation.scopes.usage.counting import (
    EARLY,
    consume,
    counted,
    event,
    law,
    setup,
    sums_hold,
    totals,
    warm,
)

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store.writes import Table
from nilometer.domain.usage import waiting as domain
from nilometer.errors import NilometerError, Unavailable
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage import waiting


def a_new_workspace(plant: Plant, *, events: Sequence[Any], expected: int) -> Callable[[], None]:
    """Usage of `late` arrives while `late` is created and its creation is announced."""
    consume(plant, "consumer 1", events, known=warm(plant))

    def create() -> None:
        perform(plant.store, service("late", "test"), CreateWorkspace(name="L"), now=EARLY)

    def announce() -> None:
        consume(plant, "announcement", [changed("late")])

    plant.repeat("creation", create, until=Unavailable, after=announce)
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        totals(plant, expected, workspace="late")
        law(not list(plant.store.scan(Table.EVENTS, kind="waiting_usage")), "usage waits for a workspace that is known")

    return laws


def _wait_for_a_meter(plant: Plant) -> datetime:
    """Usage of a meter that does not exist waits; the time at which its time to wait is over.

    Whoever gives up looks only at three days, so that every schedule can be tried.
    """
    messages = [Message(str(number), envelope(event("e1", "3", "late"))) for number in (1, 2)]
    found = usage.handle(messages, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    law([one.outcome for one in found] == [Outcome.WAITING] * 2, "a copy in the batch does not wait with it")
    plant.during(_looking_back(timedelta(days=2)))
    return NOW + timedelta(hours=25)


@contextmanager
def _looking_back(days: timedelta) -> Iterator[None]:
    before, waiting.KEPT = waiting.KEPT, days
    try:
        yield
    finally:
        waiting.KEPT = before


def an_end_of_waiting(plant: Plant) -> Callable[[], None]:
    """Two runs give up what waited too long, on two sides of midnight."""
    later = _wait_for_a_meter(plant)
    for number in (0, 1):
        at = later + timedelta(days=number)
        plant.repeat(f"abandon {number}", lambda at=at: waiting.abandon(plant.store, now=at), until=NilometerError)  # type: ignore[misc]

    def laws() -> None:
        waiting.abandon(plant.store, now=later)  # the next run
        kept = list(plant.store.scan(Table.EVENTS, kind="reject"))
        law(len(kept) == 1, f"{len(kept)} rejects of one event that waited too long")
        law(not list(plant.store.scan(Table.EVENTS, kind="waiting_usage")), "it still waits")

    return laws


def an_end_of_waiting_too_late(plant: Plant) -> Callable[[], None]:
    """A function whose clock is behind counts what waited, while another gives it up."""
    later = _wait_for_a_meter(plant)
    perform(plant.store, operator("test"), CreateMeter(meter="late", unit="u", aggregation="sum"), now=EARLY)
    consume(plant, "announcement", [changed("a", kind="meter", pk="METER#late")])
    plant.repeat("abandon", lambda: waiting.abandon(plant.store, now=later), until=NilometerError)

    def laws() -> None:
        waiting.abandon(plant.store, now=later)  # the next run
        ends = (counted(plant, "late"), len(list(plant.store.scan(Table.EVENTS, kind="reject"))))
        law(ends in {(3, 0), (0, 1)}, f"counted and rejects: {ends}")

    return laws


def a_new_meter(plant: Plant) -> Callable[[], None]:
    """Usage of a meter, twice in its batch, arrives while the meter is created and announced."""
    late = event("e1", "3", "late")
    plant.patient = True
    consume(plant, "consumer", [late, late, event("e2", "5")], known=warm(plant))
    meter = CreateMeter(meter="late", unit="u", aggregation="sum")
    announce = lambda: consume(plant, "announcement", [changed("a", kind="meter", pk="METER#late")])  # noqa: E731
    create = lambda: perform(plant.store, operator("test"), meter, now=EARLY)  # noqa: E731  # short
    plant.repeat("creation", create, until=Unavailable, surely=True, after=announce)
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        totals(plant, 3, "late")
        totals(plant, 5)
        law(not list(plant.store.scan(Table.EVENTS, kind="waiting_usage")), "usage waits for a meter that is known")

    return laws


def waits_with_two_payloads(plant: Plant) -> Callable[[], None]:
    """Two payloads under one id wait for one workspace: one of them waits, the other is a reject."""
    for number, quantity in ((1, "3"), (2, "5")):
        consume(plant, f"consumer {number}", [event("e1", quantity, workspace="late")], known=warm(plant))

    def laws() -> None:
        waiting_ = list(plant.store.scan(Table.EVENTS, kind="waiting_usage"))
        rejects = [item["reason"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
        law((len(waiting_), rejects) == (1, ["id_reuse"]), f"{len(waiting_)} wait, rejects {rejects}")

    return laws


def refused_after_waiting(plant: Plant) -> Callable[[], None]:
    """Usage that waited for a meter has another unit than the meter: it becomes a reject, and a neighbour counts."""
    bad = {**event("b1", "3", "late"), "id": "b1"}
    bad["data"] = {**bad["data"], "unit": "other"}
    messages = [Message(one["id"], envelope(one)) for one in (bad, event("e1", "5", "late"))]
    usage.handle(messages, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    perform(plant.store, operator("test"), CreateMeter(meter="late", unit="u", aggregation="sum"), now=EARLY)
    consume(plant, "announcement", [changed("a", kind="meter", pk="METER#late")])

    def laws() -> None:
        totals(plant, 5, "late")
        rejects = [item["event_id"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
        law(rejects == ["b1"], f"rejects {rejects}")
        law(not list(plant.store.scan(Table.EVENTS, kind="waiting_usage")), "it still waits")

    return laws


def an_end_of_waiting_of_a_void(plant: Plant) -> Callable[[], None]:
    """A void that waits for its workspace is given up at the moment at which a slow function does it."""
    messages = [Message("1", envelope(void("e1", "v1", workspace="late")))]
    found = usage.handle(messages, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    law([one.outcome for one in found] == [Outcome.WAITING], "it does not wait")
    plant.during(_looking_back(timedelta(days=2)))
    plant.during(_waiting_for_a_day())
    later = NOW + timedelta(hours=25)
    perform(plant.store, service("late", "test"), CreateWorkspace(name="L"), now=EARLY)
    consume(plant, "announcement", [changed("late")])
    plant.repeat("abandon", lambda: waiting.abandon(plant.store, now=later), until=NilometerError)

    def laws() -> None:
        waiting.abandon(plant.store, now=later)  # the next run
        done = len(list(plant.store.scan(Table.EVENTS, kind="usage_tombstone")))
        ends = (done, len(list(plant.store.scan(Table.EVENTS, kind="reject"))))
        law(ends in {(1, 0), (0, 1)}, f"done and rejects: {ends}")

    return laws


@contextmanager
def _waiting_for_a_day() -> Iterator[None]:
    before, domain.WORKSPACE_WAITS = domain.WORKSPACE_WAITS, timedelta(days=1)
    try:
        yield
    finally:
        domain.WORKSPACE_WAITS = before


SCOPES = (
    Scope(
        "usage waits for a workspace",
        lambda plant: a_new_workspace(plant, events=[event("e1", "3", workspace="late")], expected=3),
        setup,
    ),
    Scope("usage waits for a meter", a_new_meter, setup, faults=1),
    Scope("the end of waiting", an_end_of_waiting, setup),
    Scope("the end of waiting beside what it waits for", an_end_of_waiting_too_late, setup),
    Scope("one id with two payloads that wait", waits_with_two_payloads, setup),
    Scope("usage that waited and is refused", refused_after_waiting, setup),
    Scope("the end of waiting of a void", an_end_of_waiting_of_a_void, setup),
)

"""Scopes of billing periods that move: facts follow, and each reaction to a record's change is done."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.events import envelope, void
from tests.support.simulation.scopes.usage.counting import (
    EARLY,
    START,
    consume,
    counted,
    event,
    law,
    setup,
    sums_hold,
    warm,
)
from tests.support.simulation.scopes.usage.outbox import billed, drainer, told
from tests.support.simulation.services.streams import SimShard, record

from nilometer import CreateMeter, operator, perform
from nilometer.domain.events.outcome import Message
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.errors import Unavailable
from nilometer.flows.limits import reactions
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage import metering, rebucket

MOVED = "2026-11-15T00:00:00.000Z"
LATER = NOW + timedelta(hours=2)
OVER = NOW + timedelta(days=4)
"""When a mark may be removed."""


def a_moved_boundary(plant: Plant, *, voids: bool) -> Callable[[], None]:
    """A fact moves to the period in which it belongs, while it is voided or a neighbour is counted."""
    counting = [Message("1", envelope(event("e1", "3")))]
    usage.handle(counting, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    _bill_from(plant, "2026-11-15T00:00:00.000Z")
    before = plant.tables.digest
    rebucket.rebucket(plant.store, "a", _identities(), now=NOW, dry_run=True)
    law(plant.tables.digest == before, "a dry run moved a fact")
    plant.repeat("rebucket 1", lambda: _rebucket(plant), until=Unavailable)
    if voids:
        consume(plant, "consumer 1", [void("e1", "v1")], known=warm(plant))
    else:
        plant.repeat("rebucket 2", lambda: _rebucket(plant), until=Unavailable)
        consume(plant, "consumer 1", [event("e2", "5")], known=warm(plant))
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        with plant.calm():
            _rebucket(plant)
        totals_at = {start: counted(plant, start=start) for start in (START, "2026-11-15T00:00:00.000Z")}
        expected = {START: Decimal(0), "2026-11-15T00:00:00.000Z": Decimal(0 if voids else 8)}
        law(totals_at == expected, f"periods say {totals_at}, true is {expected}")

    return laws


def _rebucket(plant: Plant) -> None:
    found = rebucket.rebucket(plant.store, "a", _identities(), now=plant.world.now, dry_run=False)
    if found.left:
        raise Unavailable("some are left for the next run")


def _bill_from(plant: Plant, start: str, *, version: int = 1) -> None:
    """A billing record whose period begins at `start`."""
    second = int(datetime.fromisoformat(start).timestamp())
    key = keys.billing("a")
    item = {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "billing",
        "version": version,
        "workspace_id": "a",
        "periods": [[second, second + 30 * 86_400]],
        "updated_at": "2026-11-23T00:00:00.000Z",
    }
    plant.store.commit([Put(table=Table.RECORDS, item=item)])


def run_beside_marks(plant: Plant) -> Callable[[], None]:
    """The nightly run moves what a mark names, while the boundary moves again and is marked again."""
    counting = [Message("1", envelope(event("e1", "3")))]
    usage.handle(counting, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    _bill_from(plant, MOVED)
    _mark(plant, 1)
    second = "2026-11-20T00:00:00.000Z"

    def run() -> None:
        for _ in range(2):
            list(rebucket.run(plant.store, lambda *_: _identities(), now=LATER))

    def again() -> None:
        _bill_from(plant, second, version=2)
        _mark(plant, 2)

    plant.repeat("run", run, until=Unavailable)
    plant.repeat("another boundary", again, until=Unavailable, surely=True)
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        for _ in range(3):
            list(rebucket.run(plant.store, lambda *_: _identities(), now=OVER))
        totals = {start: counted(plant, start=start) for start in (START, MOVED, second)}
        law(totals == {START: 0, MOVED: 0, second: 3}, f"periods say {totals}")
        law(not list(plant.store.query_index(keys.REBUCKET)), "a mark is left and nothing is to be moved")

    return laws


def two_mark(plant: Plant) -> Callable[[], None]:
    """Two readers of the stream mark two versions of the record at once: the newer is kept, and the earlier since."""
    for version in (1, 2):
        mark = lambda version=version: _mark(plant, version, since=NOW - timedelta(days=3 - version))  # type: ignore[misc]  # noqa: E731
        plant.repeat(f"reader {version}", mark, until=Unavailable, surely=True)

    def laws() -> None:
        stored = plant.store.get(Table.RECORDS, keys.rebucket("a"), consistent=True) or {}
        law(stored.get("billing_version") == 2, f"the mark is {stored}")

    return laws


def _mark(plant: Plant, version: int, *, since: datetime | None = None) -> None:
    since = since or datetime.fromisoformat(START)
    rebucket.mark(plant.store, "a", since=since, billing_version=version, now=NOW)


def _identities() -> list[tuple[str, str]]:
    return [("/services/sim", "e1"), ("/services/sim", "e2")]


def reactions_to_records(plant: Plant, *, kinds: Collection[str]) -> Callable[[], None]:
    """A counter that is reported to Stripe, or a billing record whose period moved and that another customer pays."""
    changes = [record(change) for change in plant.tables.stream if change.table == Table.RECORDS]
    mine = [one for one in changes if one["dynamodb"].get("NewImage", {}).get("kind", {}).get("S") in kinds]
    handle = lambda records: reactions.react(records, known=plant.known(), now=LATER)  # noqa: E731  # short
    shard = SimShard(plant.world, "reader", handle, "LimitsStream")
    shard.read(mine)

    def laws() -> None:
        waiting = {(item["meter"], item["period_start"]) for item in metering.outbox(plant.store)}
        law(waiting == {("m", START)}, f"the outbox has {waiting}")
        mark = plant.store.get(Table.RECORDS, keys.rebucket("a"), consistent=True)
        law(bool(mark) is ("billing" in kinds), f"the mark to move facts is {mark}")
        law(not shard.given_up, "records were given up")

    return laws


def changed(plant: Plant) -> None:
    """Usage of a workspace that pays, of a meter that is reported to Stripe and of one that is not, and then another
    period; nothing is in the outbox."""
    billed(plant)
    perform(plant.store, operator("test"), CreateMeter(meter="own", unit="u", aggregation="sum"), now=EARLY)
    own = [Message("2", envelope(event("e2", "1", "own")))]
    usage.handle(own, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    plant.tables.write(Table.RECORDS, keys.metered("a", "m", START), None, 0)
    stored = plant.store.get(Table.RECORDS, keys.billing("a"), consistent=True) or {}
    second = int(datetime.fromisoformat(MOVED).timestamp())
    moved = {**stored, "version": 2, "periods": [[second, second + 30 * 86_400]]}
    plant.store.commit([Put(table=Table.RECORDS, item=moved)])


def all_moved(plant: Plant) -> None:
    """A boundary moved and is marked, and its fact has been moved."""
    setup(plant)
    counting = [Message("1", envelope(event("e1", "3")))]
    usage.handle(counting, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    _bill_from(plant, MOVED)
    _mark(plant, 1)
    _rebucket(plant)


def marked_again(plant: Plant) -> Callable[[], None]:
    """The run finds nothing to move and removes the mark, while another boundary is marked: that mark stays."""
    second = "2026-11-20T00:00:00.000Z"

    def again() -> None:
        _bill_from(plant, second, version=2)
        _mark(plant, 2)

    run = lambda: list(rebucket.run(plant.store, lambda *_: _identities(), now=OVER))  # noqa: E731  # short
    plant.repeat("run", run, until=Unavailable)
    plant.repeat("another boundary", again, until=Unavailable, surely=True)

    def laws() -> None:
        for _ in range(3):
            run()
        law(counted(plant, start=second) == 3, f"of three {counted(plant, start=second)} are in their period")
        law(not list(plant.store.query_index(keys.REBUCKET)), "a mark is left and nothing is to be moved")

    return laws


def told_and_moved(plant: Plant) -> None:
    """Stripe has three of eight that were used; then their period began later."""
    told(plant)
    more = [Message("2", envelope(event("e2", "5")))]
    usage.handle(more, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    stored = plant.store.get(Table.RECORDS, keys.billing("a"), consistent=True) or {}
    second = int(datetime.fromisoformat(MOVED).timestamp())
    plant.store.commit([Put(table=Table.RECORDS, item={**stored, "periods": [[second, second + 30 * 86_400]]})])


def a_drain_beside_a_move(plant: Plant) -> Callable[[], None]:
    """What Stripe has moves with the facts, while the rest is sent: all is there once."""
    stripe, drain = drainer(plant)
    plant.repeat("drainer", drain, until=Unavailable, times=2)
    plant.repeat("rebucket", lambda: _rebucket(plant), until=Unavailable, times=2)

    def laws() -> None:
        with plant.calm():
            for _ in range(2):
                drain()
                _rebucket(plant)
                for start in (START, MOVED):
                    metering.touch(plant.known(), "a", "m", start, now=NOW)
            drain()
        totals = {start: counted(plant, start=start) for start in (START, MOVED)}
        law(totals == {START: 0, MOVED: 8}, f"periods say {totals}")
        law(stripe.total == 5, f"Stripe was told {stripe.total} more than three")
        law(not list(metering.outbox(plant.store)), "the outbox is not empty")

    return laws


SCOPES = (
    Scope("a moved boundary, beside a void", lambda plant: a_moved_boundary(plant, voids=True), setup),
    Scope("a moved boundary, twice, beside usage", lambda plant: a_moved_boundary(plant, voids=False), setup, 1),
    Scope("the run that moves facts, beside another boundary", run_beside_marks, setup, 1),
    Scope("two mark a boundary", two_mark, setup),
    Scope("reactions to a counter", partial(reactions_to_records, kinds={"counter"}), changed),
    Scope("reactions to a billing record", partial(reactions_to_records, kinds={"billing"}), changed),
    Scope("a drain beside usage that moves", a_drain_beside_a_move, told_and_moved, 1),
    Scope("a mark is removed beside another boundary", marked_again, all_moved),
)

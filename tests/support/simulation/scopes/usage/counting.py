"""Scopes of usage: each event counts once, whoever comes beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.kernel.world import LawBroken
from tests.support.simulation.scopes.events import cloud, envelope, void

from nilometer import CreateMeter, CreateWorkspace, operator, perform, service
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.flows.usage import batch as usage
from nilometer.flows.usage.counters import used_in
from nilometer.flows.usage.known import Known

EARLY = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
START = "2026-11-01T00:00:00.000Z"
AT = NOW - timedelta(hours=1)
LAST_LATE = int(datetime.fromisoformat("2029-01-05T00:00:00+00:00").timestamp())
"""When the last event of November is taken, 35 days late."""
Prepare = Callable[[Plant], Callable[[], None]]
METERS = {"m": "sum", "top": "max", "level": "latest", "users": "unique"}


def setup(plant: Plant, *, workspace: bool = True) -> None:
    """Four meters and the workspace `a`."""
    for slug, aggregation in METERS.items():
        dimensions = ("user",) if aggregation == "unique" else ()
        perform(
            plant.store,
            operator("test"),
            CreateMeter(meter=slug, unit="u", aggregation=aggregation, dimensions=dimensions),
            now=EARLY,
        )
    if workspace:
        perform(plant.store, service("a", "test"), CreateWorkspace(name="A"), now=EARLY)


def sharded(plant: Plant) -> None:
    """The same, its counters over four shards."""
    setup(plant)
    item = plant.store.get(Table.RECORDS, keys.workspace("a"))
    plant.store.commit([Put(table=Table.RECORDS, item={**(item or {}), "shards": 4})])


def event(id_: str, quantity: str = "1", meter: str = "m", workspace: str = "a", **more: Any) -> dict[str, Any]:
    return cloud(id_, workspace=workspace, meter=meter, quantity=quantity, time=more.pop("time", AT), **more)


def consume(plant: Plant, name: str, events: Sequence[Any], *, known: Known | None = None) -> None:
    """A consumer of usage and its batch; a process that comes after a death has a cold cache."""
    messages = [Message(f"{name}{n}", envelope(one)) for n, one in enumerate(events)]
    caches = [known] if known else []

    def handle(batch: Sequence[Message]) -> Any:
        memory = caches.pop() if caches else plant.known()
        return usage.handle(batch, store=plant.store, objects=plant.objects, now=plant.world.now, known=memory)

    plant.deliver(name, messages, handle, queue="Usage")


def warm(plant: Plant, *workspaces: str) -> Known:
    return plant.known(warm=METERS, workspaces=workspaces or ("a",))


def facts_of(plant: Plant) -> list[Any]:
    return list(plant.store.scan(Table.EVENTS, kind="usage_event"))


def counted(plant: Plant, meter: str = "m", workspace: str = "a", start: str = START) -> Decimal:
    found = plant.known().meters([meter])[meter]
    return used_in(plant.store, workspace, found, start, consistent=True)


def law(held: bool, text: str) -> None:
    if not held:
        raise LawBroken(text)


def sums_hold(plant: Plant) -> None:
    """At every step: the counters of `m` are the sums of what the lake will hold, by period and by day."""
    rows: dict[Any, Decimal] = defaultdict(Decimal)
    for change in plant.tables.stream:
        if change.table == Table.EVENTS and change.old is None and change.new and _is_usage(change.new):
            place, amount = change.new["workspace_id"]["S"], Decimal(change.new["quantity"]["N"])
            rows[place, change.new["period_start"]["S"][:10]] += amount
            rows[place, change.new["time"]["S"][:10] + " day"] += amount
    counters: dict[Any, Decimal] = defaultdict(Decimal)
    for item in plant.tables.items[Table.RECORDS].values():
        if item.values["kind"]["S"] == "counter" and item.values["meter"]["S"] == "m":
            day = " day" if item.values["scope"]["S"] == "day" else ""
            place = item.values["workspace_id"]["S"]
            counters[place, item.values["period_start"]["S"][:10] + day] += Decimal(item.values["total"]["N"])
    wrong = [p for p in rows.keys() | counters.keys() if rows[p] != counters[p]]
    law(not wrong, f"counters {dict(counters)} are not the sums of the rows {dict(rows)}")


def _is_usage(item: Any) -> bool:
    return bool(item["kind"]["S"] == "usage_event" and item["meter"]["S"] == "m")


def totals(plant: Plant, expected: Decimal | int | str, meter: str = "m", workspace: str = "a") -> None:
    found = counted(plant, meter, workspace)
    law(found == Decimal(expected), f"{meter} counted {found}, true is {expected}")


def consumers(
    batches: Sequence[Sequence[Any]], expected: int, *, cold: bool = False, meter: str = "m"
) -> Callable[[Plant], Callable[[], None]]:
    """Consumers with these batches at once."""

    def prepare(plant: Plant) -> Callable[[], None]:
        for number, batch in enumerate(batches, 1):
            consume(plant, f"consumer {number}", batch, known=None if cold else warm(plant))
        plant.world.invariant = lambda: sums_hold(plant)

        def laws() -> None:
            totals(plant, expected, meter)
            lives = [item["expires_at"] for item in plant.store.scan(Table.EVENTS, kind="unique_value")]
            law(not lives or max(lives) >= LAST_LATE, "a value is forgotten while events of its period are still taken")

        return laws

    return prepare


def a_voided_event(batches: Sequence[Sequence[Any]], expected: int) -> Callable[[Plant], Callable[[], None]]:
    inner = consumers(batches, expected)

    def prepare(plant: Plant) -> Callable[[], None]:
        laws = inner(plant)

        def with_voids() -> None:
            laws()
            voids = [fact for fact in facts_of(plant) if "voids_id" in fact]
            targets = [fact["voids_id"] for fact in voids]
            law(len(targets) == len(set(targets)), f"an event was voided twice: {targets}")

        return with_voids

    return prepare


def one_reuse_is_refused(plant: Plant) -> None:
    """Of two payloads under one id one is kept as a reject, and nothing else is."""
    rejects = [item["reason"] for item in plant.store.scan(Table.EVENTS, kind="reject")]
    law(rejects == ["id_reuse"], f"rejects {rejects}")


def one_id_for_two_voids(plant: Plant) -> Callable[[], None]:
    """One void is done, the other is a reject: each takes back another event under one id."""
    first = [Message("1", envelope(E1)), Message("2", envelope(E2))]
    usage.handle(first, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    consume(plant, "consumer 1", [void("e1", "v1")], known=warm(plant))
    consume(plant, "consumer 2", [void("e2", "v1")], known=warm(plant))
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        law(counted(plant) in {3, 5}, f"counted {counted(plant)}")
        one_reuse_is_refused(plant)

    return laws


def one_id_for_a_void_and_an_event(plant: Plant) -> Callable[[], None]:
    """A void of what has not come yet, and usage under the void's own id: one of the two is a reject."""
    consume(plant, "consumer 1", [void("e9", "x1")], known=warm(plant))
    consume(plant, "consumer 2", [event("x1", "3")], known=warm(plant))
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        one_reuse_is_refused(plant)
        law(counted(plant) == sum(fact["quantity"] for fact in facts_of(plant)), "a counted fact is gone")

    return laws


def a_reused_id(plant: Plant) -> Callable[[], None]:
    """Two payloads under one id: one is counted, the other is kept as a reject."""
    consume(plant, "consumer 1", [event("e1", "3")], known=warm(plant))
    consume(plant, "consumer 2", [event("e1", "5")], known=warm(plant))
    plant.world.invariant = lambda: sums_hold(plant)

    def laws() -> None:
        law(counted(plant) in {3, 5}, f"counted {counted(plant)}")
        one_reuse_is_refused(plant)

    return laws


def a_bad_neighbour(plant: Plant) -> Callable[[], None]:
    """What is refused is kept, and its neighbours are counted."""
    bad = [event("b1", "x"), event("b2", "-1"), {"type": "usage.recorded.v1"}]
    consume(plant, "consumer 1", [bad[0], event("e1", "3"), bad[1]], known=warm(plant))
    consume(plant, "consumer 2", [bad[2], event("e2", "5")], known=warm(plant))

    def laws() -> None:
        totals(plant, 8)
        law(len(list(plant.store.scan(Table.EVENTS, kind="reject"))) == 3, "a reject is lost")
        law(plant.outcomes[Outcome.REJECTED] >= 3, "a reject was not named")

    return laws


E1, E2, E3 = event("e1", "3"), event("e2", "5"), event("e3", "7")
VOID = void("e1", "v1")


def _scope(name: str, prepare: Prepare, filled: Callable[[Plant], None] = setup, *, faults: int = 2) -> Scope:
    return Scope(name, prepare, filled, faults)


SCOPES = (
    _scope("two consumers with a common event", consumers([[E1, E2], [E3, E2]], 15)),
    _scope("the same, with cold caches", consumers([[E1, E1], [E1]], 3, cold=True)),
    _scope("the same, over four shards", consumers([[E1, E2], [E2]], 8), sharded),
    _scope("three consumers with a common event", consumers([[E1], [E1, E2], [E2]], 8), faults=1),
    _scope("a void beside what it voids", a_voided_event([[E1, E2], [VOID]], 5)),
    _scope("two voids of one event", a_voided_event([[E1, VOID], [void("e1", "v2")]], 0), faults=1),
    _scope("one id for two voids", one_id_for_two_voids, faults=1),
    _scope("one id for a void and an event", one_id_for_a_void_and_an_event, faults=1),
    _scope("a void twice beside its event", a_voided_event([[VOID], [E1, VOID]], 0)),
    _scope("a maximum", consumers([[event("s1", "3", "top")], [event("s2", "5", "top")]], 5, meter="top")),
    _scope(
        "a latest value",
        consumers(
            [[event("s1", "3", "level", time=AT)], [event("s2", "5", "level", time=AT - timedelta(minutes=1))]],
            3,
            meter="level",
        ),
    ),
    _scope(
        "a value of a unique meter",
        consumers(
            [
                [event("u1", meter="users", dimensions={"user": "x"})],
                [event("u2", meter="users", dimensions={"user": "x"})],
            ],
            1,
            meter="users",
        ),
    ),
    _scope("one id with two payloads", a_reused_id),
    _scope("what is refused, and its neighbours", a_bad_neighbour, faults=1),
)

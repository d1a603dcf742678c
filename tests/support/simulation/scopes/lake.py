"""Scopes of the way into the lake: every change once, whoever dies between the table and the commit."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
from deltalake import DeltaTable
from tests.support.lake.build import KEYS
from tests.support.simulation.kernel.choices import Replayed
from tests.support.simulation.kernel.scope import NOW, Plant, Scope, plain_encoding
from tests.support.simulation.kernel.world import SimRequest, World
from tests.support.simulation.scopes import reservations
from tests.support.simulation.scopes.events import RECORD_CHANGED, envelope, said
from tests.support.simulation.scopes.usage import event, law, setup
from tests.support.simulation.services.messages import SimEventBridge, SimSqs
from tests.support.simulation.services.streams import SimShard, record

from nilometer import operator, perform
from nilometer.aws.eventbridge import Bus
from nilometer.aws.landing import Landing
from nilometer.aws.sqs import Queue
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.dataset import DeclareDataset, DeclaredColumn
from nilometer.domain.lake.rows import usage_row
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE
from nilometer.domain.store.writes import Put, Table
from nilometer.flows.inbox.settle import PATIENCE
from nilometer.flows.lake import append, changes, datasets, maintenance
from nilometer.flows.lake.packed import pack
from nilometer.flows.limits import reactions
from nilometer.flows.usage import batch as usage
from nilometer.lake.write import append as appending
from nilometer.lake.write import batches as landing
from nilometer.lake.write import maintenance as upkeep
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode_packed

FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder in memory, where there is one


# ---------------------------------------------------------------------- the relay


def with_changes(plant: Plant) -> None:
    """Facts, counters, a void, a reject and a record that is gone wait in the streams."""
    setup(plant)
    bodies = [event("e1", "3"), event("e2", "5"), event("b1", "-1")]
    messages = [Message(str(n), envelope(one)) for n, one in enumerate(bodies)]
    usage.handle(messages, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
    gone = {"pk": "FLAG#x", "sk": "FLAG", "kind": "flag", "version": 1, "expires_at": 1}
    plant.store.commit([Put(table=Table.RECORDS, item=gone)])
    plant.tables.expire(2)
    broken = {"pk": "STRIPE#self#evt_x", "sk": "FACT", "kind": "stripe_event", "version": 1, "payload": b"no JSON"}
    plant.store.commit([Put(table=Table.EVENTS, item=broken)])


def relayed(plant: Plant) -> Callable[[], None]:
    """Both streams, each by its function, to the bus and the queue of usage."""
    bus, queue = SimEventBridge(plant.world), SimSqs(plant.world)
    plant.world.stores += [bus, queue]
    clients: Any = (bus, queue)
    queues = {USAGE.name: Queue(clients[1], url="usage"), STRIPE_EVENTS.name: Queue(clients[1], url="stripe")}
    to = {"bus": Bus(clients[0], name="bus"), "queues": queues, "objects": plant.objects}
    later = NOW + PATIENCE  # what cannot be read is passed over by then
    handle = partial(changes.relay, **to, keys=KEYS, now=later)
    shards = []
    for table, mapping in ((Table.RECORDS, "RecordsStream"), (Table.EVENTS, "EventsStream")):
        mine = [record(change) for change in plant.tables.stream if change.table == table][-4:]
        shard = SimShard(plant.world, mapping, handle, mapping)
        shard.read(mine)
        shards.append((shard, mine))

    def laws() -> None:
        told = [json.loads(entry["Detail"]) for entry in bus.taken]
        audit = [row["data"] for row in told if row["type"] == RECORD_CHANGED]
        numbers = {int(row["sequence_number"]) for row in audit if row["kind"] != "reject"}
        wanted = {int(one["dynamodb"]["SequenceNumber"]) for one in shards[0][1]}
        law(numbers == wanted, f"the audit lacks {wanted - numbers} or invents {numbers - wanted}")
        ids = Counter(row["change_id"] for row in audit)
        law(len(ids) == len({json.dumps(row, sort_keys=True) for row in audit}), "a copy of a change differs")
        usage_rows = {id_ for body in queue.taken for id_ in decode_packed(body)[1].event_ids}
        law(usage_rows == {"e1", "e2"}, f"rows of usage {usage_rows}")
        law(not any(shard.given_up for shard, _ in shards), "records were given up")
        kept = [key for key in plant.s3.kept if key.startswith(changes.REJECTS)]
        law(len(kept) == 1, f"{len(kept)} records that cannot be read are kept")

    return laws


def reacted(plant: Plant) -> Callable[[], None]:
    """The second reader of the records' stream: alerts of a crossing that the counter's change tells of."""
    counters = [change for change in plant.tables.stream if change.key[1].startswith("USAGE#")]
    handle = lambda records: reactions.react(records, known=plant.known(), now=NOW)  # noqa: E731  # short
    shards = [SimShard(plant.world, f"reader {number}", handle, "LimitsStream") for number in (1, 2)]
    for shard in shards:
        shard.read([record(change) for change in counters])

    def laws() -> None:
        alerts = sorted(item["sk"].split("#")[3] for item in plant.store.scan(Table.RECORDS, kind="alert"))
        law(len(alerts) == len(set(alerts)) > 0, f"alerts {alerts}")

    return laws


def crossed(plant: Plant) -> None:
    """Nine of ten are used, and nobody was told."""
    reservations.limited(plant)
    first = [Message("1", envelope(event("e1", "9")))]
    usage.handle(first, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())


# ---------------------------------------------------------------------- the lake's writers, on real Delta tables


class _DeltaFolder:
    """A lake in a folder of its own. What its writers do to a table are choices, and its digest what they committed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.path = tempfile.mkdtemp(dir=FOLDER)
        self.lake = Lake(uri=self.path, storage_options={})
        self.digest = 0
        world.stores.append(self)
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, True)

    def step(self, operation: str, real: Callable[..., Any], troubles: tuple[str, ...]) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            def perform(trouble: str) -> Any:
                if trouble == "refused":
                    raise OSError("the storage did not answer")
                answer = real(*args, **given)
                if "lost" in troubles:
                    self.digest = hash((self.digest, operation, self.world.working))
                if trouble == "lost":
                    raise OSError("the answer is lost")
                return answer

            return self.world.request(SimRequest(operation, troubles, lambda: operation), perform, _version)

        return call

    @contextmanager
    def steps(self) -> Iterator[None]:
        """Opening, reading what is there and committing are requests of the simulation."""
        before = [(module, name, getattr(module, name)) for module, name, _, _ in _STEPS]
        for module, name, operation, troubles in _STEPS:
            setattr(module, name, self.step(operation, getattr(module, name), troubles))
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


_STEPS: tuple[tuple[Any, str, str, tuple[str, ...]], ...] = (
    (appending, "open_or_create", "opens", ("refused",)),
    (appending, "_stored_keys", "reads the keys", ("refused",)),
    (appending, "_commit", "commits to Delta", ("refused", "dies", "lost")),
    (landing, "open_or_create", "opens", ("refused",)),
    (landing, "_commit", "commits to Delta", ("refused", "dies", "lost")),
    (upkeep, "compact", "compacts", ("refused", "dies", "lost")),
)


def _version(answer: Any) -> Any:
    if isinstance(answer, DeltaTable):
        return answer.version()
    return hash(tuple(sorted(answer))) if isinstance(answer, set) else ""


@cache
def bodies() -> tuple[str, ...]:
    """Packed messages of usage rows: two of them, the second with a third, the third."""
    plant = Plant(Replayed(), faults=0)
    with plain_encoding():
        setup(plant)
        messages = [Message(str(n), envelope(event(f"e{n}"))) for n in range(3)]
        usage.handle(messages, store=plant.store, objects=plant.objects, now=NOW, known=plant.known())
        facts = sorted(plant.store.scan(Table.EVENTS, kind="usage_event"), key=lambda fact: str(fact["event_id"]))
    encode = msgspec.json.Encoder(decimal_format="number").encode
    rows = [encode(usage_row(fact)) for fact in facts]
    return tuple(next(iter(pack(USAGE.name, some))) for some in (rows[:2], rows[1:], rows[2:]))


def writers(batches: Callable[[], Sequence[str]], *, compacts: bool = False) -> Callable[[Plant], Callable[[], None]]:
    """Writers of the usage table at once; upkeep beside them."""

    def prepare(plant: Plant) -> Callable[[], None]:
        folder = _DeltaFolder(plant.world)
        end = plant.world.monotonic() + 600

        def handle(messages: Sequence[Message]) -> Any:
            return append.append(
                messages,
                lake=folder.lake,
                objects=plant.objects,
                keys=KEYS,
                now=NOW,
                deadline=end,
                monotonic=plant.world.monotonic,
            )

        if compacts:
            for number in (0, 2):
                handle([Message("before", bodies()[number])])
        plant.during(folder.steps())
        for number, body in enumerate(batches(), 1):
            plant.deliver(f"writer {number}", [Message(str(number), body)], handle, queue="LakeUsage")
        if compacts:
            later = NOW + timedelta(days=5)
            plant.repeat(
                "upkeep",
                lambda: list(
                    maintenance.maintain(
                        folder.lake, now=later, deadline=end, tables=[USAGE], monotonic=plant.world.monotonic
                    )
                ),
            )

        def laws() -> None:
            table = DeltaTable(f"{folder.path}/{USAGE.name}").to_pyarrow_table(columns=["event_id"])
            found = sorted(table.column("event_id").to_pylist())
            law(found == ["e0", "e1", "e2"], f"the table holds {found}")

        return laws

    return prepare


def declared(plant: Plant) -> None:
    """An appending and a merging dataset."""
    columns = [DeclaredColumn(name="id", type="string"), DeclaredColumn(name="total", type="int64")]
    merging = DeclareDataset(dataset="levels", mode="merge", columns=columns, key=("id",), order_by="total")
    for deed in (DeclareDataset(dataset="orders", mode="append", columns=columns), merging):
        perform(plant.store, operator("ops"), deed, now=NOW)


def landed(
    dataset: str, batches: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], expected: Any
) -> Callable[..., Any]:
    """Batches of a dataset, each announced to a function of its own."""

    def prepare(plant: Plant) -> Callable[[], None]:
        folder = _DeltaFolder(plant.world)
        bucket: Any = plant.s3
        end = plant.world.monotonic() + 600

        def handle(messages: Sequence[Message]) -> Any:
            return datasets.land(
                messages,
                store=plant.store,
                objects=plant.objects,
                landing=Landing(bucket, bucket="bucket"),
                lake=folder.lake,
                now=NOW,
                deadline=end,
                monotonic=plant.world.monotonic,
            )

        plant.during(folder.steps())
        for number, (id_, rows) in enumerate(batches, 1):
            ready = said("dataset.batch_ready.v1", {"dataset": dataset, "rows": list(rows)}, id_=id_, subject=None)
            plant.deliver(f"function {number}", [Message(str(number), envelope(ready))], handle, queue="Datasets")

        def laws() -> None:
            table = DeltaTable(f"{folder.path}/datasets/{dataset}").to_pyarrow_table(columns=["id", "total"])
            found = sorted((row["id"], row["total"]) for row in table.to_pylist())
            law(found == expected, f"the dataset holds {found}, true is {expected}")

        return laws

    return prepare


SCOPES = (
    Scope("both streams to the bus and the queues", relayed, with_changes),
    Scope("two readers of a counter's change", reacted, crossed),
    Scope("two writers of the lake", writers(lambda: bodies()[:2]), faults=1),
    Scope("a writer of the lake beside upkeep", writers(lambda: bodies()[1:2], compacts=True), faults=1),
    Scope(
        "one batch of a dataset, twice",
        landed("orders", [("b1", [{"id": "x", "total": 1}])] * 2, [("x", 1)]),
        declared,
        faults=1,
    ),
    Scope(
        "two batches that merge",
        landed("levels", [("b1", [{"id": "x", "total": 1}]), ("b2", [{"id": "x", "total": 2}])], [("x", 2)]),
        declared,
        faults=1,
    ),
)

"""Scopes of the lake's writers, on real Delta tables: each row and each batch once, whoever dies at a commit."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from deltalake import DeltaTable
from tests.support.lake.build import KEYS
from tests.support.simulation.kernel.choices import Replayed
from tests.support.simulation.kernel.scope import NOW, Plant, Scope, plain_encoding
from tests.support.simulation.kernel.world import SimRequest, World
from tests.support.simulation.scopes.events import envelope, said
from tests.support.simulation.scopes.usage.counting import event, law, setup

from nilometer import operator, perform
from nilometer.aws.landing import Landing
from nilometer.domain.events.outcome import Message
from nilometer.domain.lake.dataset import DeclareDataset, DeclaredColumn
from nilometer.domain.lake.rows import usage_row
from nilometer.domain.lake.tables import USAGE
from nilometer.domain.store.writes import Table
from nilometer.flows.lake import append, datasets, maintenance
from nilometer.flows.lake.packed import pack
from nilometer.flows.usage import batch as usage
from nilometer.lake.tables import kept
from nilometer.lake.tables.files import FilesOnDisk
from nilometer.lake.write import append as appending
from nilometer.lake.write import batches as landing
from nilometer.lake.write import maintenance as upkeep
from nilometer.lake.write.append import Lake

FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder in memory, where there is one


class DeltaFolder:
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
                if "lost" in troubles and answer is not False:
                    self.digest = hash((self.digest, operation, self.world.working))
                if trouble == "lost":
                    raise OSError("the answer is lost")
                return answer

            return self.world.request(SimRequest(operation, troubles, lambda: operation), perform, self._seen)

        return call

    def _seen(self, answer: Any) -> Any:
        """What a writer learns. Names of files are new in each run, so a commit is who made it and all before it."""
        if isinstance(answer, DeltaTable):
            return answer.version()
        if isinstance(answer, list):
            return (self.digest, *(entry is None for entry in answer))
        if isinstance(answer, set):
            return hash(tuple(sorted(answer)))
        return (self.digest, answer) if answer is None or isinstance(answer, bool) else self.digest

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
    (kept, "open_or_create", "opens", ("refused",)),
    (kept, "_update", "opens again", ("refused",)),
    (appending, "stored_keys", "reads the keys", ("refused",)),
    (FilesOnDisk, "create", "creates a version", ("refused", "dies", "lost")),
    (FilesOnDisk, "read_all", "reads versions", ("refused",)),
    (landing, "open_or_create", "opens", ("refused",)),
    (landing, "_commit", "commits to Delta", ("refused", "dies", "lost")),
    (upkeep, "compact", "compacts", ("refused", "dies", "lost")),
)


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
        folder = DeltaFolder(plant.world)
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
        folder = DeltaFolder(plant.world)
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
    Scope("two writers of the lake", writers(lambda: bodies()[:2]), faults=1),
    Scope("two writers of the lake with no row in common", writers(lambda: bodies()[::2]), faults=1),
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
    Scope(
        "rows of one key in one batch, beside another",
        landed(
            "levels",
            [("b1", [{"id": "x", "total": 1}, {"id": "x", "total": 3}, {"id": "x", "total": 2}]), ("b2", [])],
            [("x", 3)],
        ),
        declared,
        faults=1,
    ),
)

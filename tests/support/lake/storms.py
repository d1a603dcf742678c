"""Where faults are tried: the table `usage` or a book by the anti-join, or a connector dataset that appends or merges.

A subject makes the batches, lands one, and judges what a reader sees in the end.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from deltalake import write_deltalake
from tests.support.lake.build import DAY, NOW, START, instant, messages, usage

from nilometer.domain.lake.books import BOOKS
from nilometer.domain.lake.dataset import Dataset, new_column, new_dataset
from nilometer.domain.lake.tables import USAGE, DeltaTable
from nilometer.lake.tables.files import FilesOnDisk
from nilometer.lake.write import append as append_module
from nilometer.lake.write import batches as batches_module
from nilometer.lake.write.append import Lake
from nilometer.lake.write.batches import Batches, DatasetBatch
from nilometer.lake.write.dataset_rows import Format, read
from nilometer.lake.write.rows import TableRows, decode_packed, to_arrow

Content = Any  # of one batch, in JSON's terms


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much there is of it."""

    events: int
    batch: int
    days: int


class Subject(Protocol):
    commit: ClassVar[tuple[Any, str]]
    """The module or class and the function in it that commits on a disk, whose answer may be lost."""

    @property
    def table(self) -> DeltaTable: ...

    def batches(self, size: Size, chance: random.Random) -> list[Content]:
        """Some of them more than once, in an order that nobody planned."""

    def land(self, lake: Lake, content: bytes, *, deadline: float, plain: bool) -> None: ...

    def judge(self, lake: Lake, size: Size, contents: Sequence[Content]) -> dict[str, int]:
        """`expected`, `stored`, `lost`, `twice`."""


class Usage:
    """Every event in one batch, and half of them in one or two more, grouped anew and far from the first."""

    commit = (FilesOnDisk, "create")
    table: DeltaTable = USAGE

    def batches(self, size: Size, chance: random.Random) -> list[Content]:
        rows = [usage(f"e{n}", created=START - chance.randrange(size.days * DAY)) for n in range(size.events)]
        return _regrouped(rows, size, chance)

    def land(self, lake: Lake, content: bytes, *, deadline: float, plain: bool) -> None:
        [body] = messages(self.table.name, json.loads(content))
        _, decoded = decode_packed(body)
        if plain:
            _append_plainly(lake, decoded)
        else:
            lake.append(self.table, decoded, recorded_at=datetime.now(UTC), deadline=deadline)

    def judge(self, lake: Lake, size: Size, contents: Sequence[Content]) -> dict[str, int]:
        stored = Counter(event_id for (event_id,) in _ask(lake, "select event_id from usage"))
        return verdict({f"e{n}" for n in range(size.events)}, stored)


def _regrouped(rows: list[Content], size: Size, chance: random.Random) -> list[Content]:
    copies = [*rows, *chance.choices(rows, k=size.events)]
    near = sorted(range(len(copies)), key=lambda n: n + chance.gauss(0, size.events / 3))
    ordered = [copies[n] for n in near]
    return [ordered[n : n + size.batch] for n in range(0, len(ordered), size.batch)]


def _append_plainly(lake: Lake, rows: TableRows) -> None:
    """What the protocol is measured against: acknowledge after the commit, again when it raised."""
    snapshot = append_module.open_or_create(lake.uri, USAGE, lake.storage_options)
    write_deltalake(snapshot, to_arrow(USAGE, rows, recorded_at=NOW), mode="append")


class Items(Usage):
    """Rows of a book, of which two columns are the key: the items of a subscription share their change."""

    table: DeltaTable = BOOKS["subscription_items_history"]

    def batches(self, size: Size, chance: random.Random) -> list[Content]:
        changes = [chance.randrange(size.days * DAY) for _ in range(size.events // 2 + 1)]
        rows = [_item(n // 2, n % 2, START - changes[n // 2]) for n in range(size.events)]
        return _regrouped(rows, size, chance)

    def judge(self, lake: Lake, size: Size, contents: Sequence[Content]) -> dict[str, int]:
        stored = Counter(_ask(lake, "select change_id, object_id from subscription_items_history"))
        return verdict({(f"c{n // 2}", f"si_{n % 2}") for n in range(size.events)}, stored)


def _item(change: int, position: int, created: int) -> dict[str, Any]:
    when = instant(created)
    known = {"account": "self", "livemode": True, "deleted": False, "ambiguous": False, "origin": "event"}
    return {
        "change_id": f"c{change}",
        "object_id": f"si_{position}",
        "subscription_id": "sub_1",
        "position": position,
        "unit_amount": 4900,
        "valid_from": when,
        "known_at": when,
        "created": created,
        "digest": "d",
        "sequence_number": str(change),
        **known,
    }


class _Batches:
    """Every batch once, and half of them once or twice again, far from the first."""

    commit = (batches_module, "_commit")
    dataset: ClassVar[Dataset]

    @property
    def table(self) -> DeltaTable:
        return self.dataset.table

    def batches(self, size: Size, chance: random.Random) -> list[Content]:
        keys = max(size.events // 20, 1)
        rows = [{"id": f"e{n}", "key": chance.randrange(keys), "at": chance.randrange(50)} for n in range(size.events)]
        contents = [{"id": f"b{n}", "rows": rows[n : n + size.batch]} for n in range(0, size.events, size.batch)]
        copies = [*contents, *chance.choices(contents, k=len(contents))]
        return chance.sample(copies, len(copies))

    def land(self, lake: Lake, content: bytes, *, deadline: float, plain: bool) -> None:
        said = json.loads(content)
        lines = "\n".join(map(json.dumps, said["rows"])).encode()
        batch = DatasetBatch(source="/storm", id=said["id"], fingerprint=1)
        batches = Batches(lake=lake, now=NOW, deadline=deadline)
        batches.land(self.dataset, batch, lambda: read(self.dataset.table, lines, Format.NDJSON))


class Appended(_Batches):
    """Each row of each batch, once."""

    dataset = new_dataset(
        "storm", mode="append", columns=[new_column("id", "string"), *(new_column(n, "int64") for n in ("key", "at"))]
    )

    def judge(self, lake: Lake, size: Size, contents: Sequence[Content]) -> dict[str, int]:
        stored = Counter(id_ for (id_,) in _ask(lake, "select id from datasets.storm", "storm"))
        return verdict({f"e{n}" for n in range(size.events)}, stored)


class Merged(_Batches):
    """Of each key the row that one writer alone would have left."""

    dataset = new_dataset("storm", mode="merge", columns=Appended.dataset.columns, key=["key"], order_by="at")

    def judge(self, lake: Lake, size: Size, contents: Sequence[Content]) -> dict[str, int]:
        ranked = sorted(
            (row["at"], one["id"], n, row["key"], row["id"]) for one in contents for n, row in enumerate(one["rows"])
        )
        expected = {key: id_ for _, _, _, key, id_ in ranked}
        stored = Counter(_ask(lake, "select key, id from datasets.storm", "storm"))
        return verdict(set(expected.items()), stored)


def verdict(expected: set[Any], stored: Counter[Any]) -> dict[str, int]:
    return {
        "expected": len(expected),
        "stored": stored.total(),
        "lost": len(expected - stored.keys()),
        "twice": sum(count > 1 for count in stored.values()),
    }


def _ask(lake: Lake, sql: str, *datasets: str) -> list[Any]:
    from nilometer.lake.read.query import query

    return list(query(sql, lake_uri=lake.uri, storage_options=lake.storage_options, datasets=datasets).rows)


SUBJECTS: dict[str, Subject] = {"usage": Usage(), "items": Items(), "append": Appended(), "merge": Merged()}

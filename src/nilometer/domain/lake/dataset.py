"""A connector dataset: a table of the lake that an internal service feeds in batches.

| part of a declaration | may a later declaration change it? |
|---|---|
| description | yes |
| columns | further ones, all nullable; none is ever dropped, renamed, retyped or made nullable or not |
| mode, key, order_by, partition_by | no |
| owner | only who declared without one may name one; `ChangeDataset` gives it to another |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Actor, Bounds, Decided, Deed, Reach, Slug, Stored
from nilometer.domain.acts.records import field_times, newer, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.text import check_text
from nilometer.domain.events.cloudevents import SPECVERSION, check_context
from nilometer.domain.lake.tables import Column, DeltaTable, Type
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.domain.usage.meter import SLUG, check_name
from nilometer.errors import Rejected

COLUMNS = 200
KEY_COLUMNS = 8
DESCRIPTION_LENGTH = 500
KeyColumns = Annotated[
    Sequence[Slug], Bounds(most=KEY_COLUMNS, says="Key columns, which identify a row; merge needs them")
]
Owner = Annotated[
    str, Bounds(least=1, most=256, says="The only `source` that may write it; without it, any source may")
]
Description = Annotated[str, Bounds(most=DESCRIPTION_LENGTH)]

BATCH_READY = "dataset.batch_ready.v1"
"""The event that a batch is ready."""
FOLDER = "datasets"  # of the lake
BATCH_SOURCE, BATCH_ID, RECORDED_AT = "batch_source", "batch_id", "recorded_at"
STAMPED = (BATCH_SOURCE, BATCH_ID, RECORDED_AT)
"""Columns that the writer fills: which batch a row came with, and when."""

_IDENTIFIES = frozenset({Type.STRING, Type.INT64, Type.DATE})
_PARTITIONS = frozenset({Type.STRING, Type.DATE})
_ORDERS = frozenset({Type.STRING, Type.INT64, Type.DATE, Type.TIMESTAMP, Type.DECIMAL})


class DatasetStatus(StrEnum):
    """Whether a dataset takes batches."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"  # takes batches as before; lists say that it ends
    DROPPED = "dropped"  # takes no batch, and maintenance leaves it alone; its files stay until they are deleted


class Mode(StrEnum):
    """Whether rows are added, or replace those of their key."""

    APPEND = "append"  # every row of every batch stays
    MERGE = "merge"  # one row a key: the one with the highest `order_by`


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetColumn:
    """One declared column."""

    name: str
    type: Type
    nullable: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A declaration, as far as it can be: `new_dataset` makes one."""

    name: str
    mode: Mode
    columns: tuple[DatasetColumn, ...]
    key: tuple[str, ...] = ()
    order_by: str | None = None
    description: str = ""
    owner: str | None = None
    partition_by: str | None = None
    status: DatasetStatus = DatasetStatus.ACTIVE
    note: str = ""

    @property
    def table(self) -> DeltaTable:
        """In the lake: the declared columns and the stamped ones. A merge changes rows, so only some never change."""
        return DeltaTable(
            name=f"{FOLDER}/{self.name}",
            meaning=self.description,
            key=self.key,
            columns=(*map(self._column, self.columns), *_STAMPS),
            partitioned=False,
            partition_by=self.partition_by,
            append_only=self.mode is Mode.APPEND,
        )

    def _column(self, column: DatasetColumn) -> Column:
        return Column(
            name=column.name,
            type=column.type,
            meaning=column.description,
            source="the batch",
            example="",
            nullable=column.nullable,
            statistics=column.name in {*self.key, self.order_by} or column.type in {Type.TIMESTAMP, Type.DATE},
        )


def _stamp(name: str, type_: Type, meaning: str) -> Column:
    return Column(
        name=name, type=type_, meaning=meaning, source="the writer", example="", stamped=True, statistics=True
    )


_STAMPS = (
    _stamp(BATCH_SOURCE, Type.STRING, "CloudEvents `source` of the batch"),
    _stamp(BATCH_ID, Type.STRING, "CloudEvents `id` of the batch"),
    _stamp(RECORDED_AT, Type.TIMESTAMP, "When the writer committed the row"),
)


def new_dataset(
    name: str,
    *,
    mode: str,
    columns: Iterable[DatasetColumn],
    key: Iterable[str] = (),
    order_by: str | None = None,
    description: str = "",
    owner: str | None = None,
    partition_by: str | None = None,
) -> Dataset:
    """`Rejected("invalid_schema")` says which part cannot be."""
    check_name(name)
    check_text("a description", description, DESCRIPTION_LENGTH, at_least=0)
    if mode not in set(Mode):
        raise Rejected("invalid_schema", f"mode {mode[:80]!r} is none of {', '.join(Mode)}")
    dataset = Dataset(
        name=name,
        mode=Mode(mode),
        columns=tuple(columns),
        key=tuple(key),
        order_by=order_by,
        description=description,
        owner=owner,
        partition_by=partition_by,
    )
    check_owner(owner)
    _check_columns(dataset)
    if partition_by is not None:
        _check_part(dataset, "partition_by", partition_by, allowed=_PARTITIONS)
    _check_key(dataset)
    _check_order(dataset)
    return dataset


def new_column(name: str, type_: str, *, nullable: bool = False, description: str = "") -> DatasetColumn:
    """As it was declared. `Rejected("invalid_schema")` for a type that there is not."""
    if type_ not in set(Type):
        raise Rejected("invalid_schema", f"{name[:80]}: type {type_[:80]!r} is none of {', '.join(Type)}")
    return DatasetColumn(name=name, type=Type(type_), nullable=nullable, description=description)


@dataclass(frozen=True, kw_only=True)
class DeclaredColumn:
    """A column: what it is called, what it holds, and whether it may be empty."""

    wire_name: ClassVar[str] = "Column"

    name: Slug
    type: Literal["string", "json", "int64", "timestamp", "date", "decimal", "bool", "double"]
    nullable: bool = False
    description: Description = ""


@dataclass(frozen=True, kw_only=True)
class DeclareDataset(Deed[bool]):
    """A dataset exists from now on, or has further nullable columns; all else about it stays.

    False when it is declared so already. `Rejected("conflict")` when it is no safe step from what is stored.
    """

    reach = Reach.EVERYBODY
    permission = Permission.DATASET_DECLARE
    actor = Actor.NAMED

    dataset: Slug
    mode: Annotated[Literal["append", "merge"], Bounds(says="merge keeps one row per key")]
    columns: Annotated[Sequence[DeclaredColumn], Bounds(least=1, most=COLUMNS)]
    key: KeyColumns = ()
    order_by: Annotated[
        Slug | None,
        Bounds(says="Only for merge: of the rows with the same key, the highest value in this column stays"),
    ] = None
    description: Description = ""
    owner: Owner | None = None
    partition_by: Annotated[
        Slug | None, Bounds(says="A date or string of few values; a query for one value reads only its files")
    ] = None

    def said(self) -> Dataset:
        """`Rejected("invalid_schema")` says which part cannot be."""
        columns = [
            new_column(column.name, column.type, nullable=column.nullable, description=column.description)
            for column in self.columns
        ]
        return new_dataset(
            self.dataset,
            mode=self.mode,
            columns=columns,
            key=self.key,
            order_by=self.order_by,
            description=self.description,
            owner=self.owner,
            partition_by=self.partition_by,
        )

    def reads(self, act: Act) -> list[Key]:
        return [dataset_key(self.dataset)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        said, item = self.said(), stored.get(dataset_key(self.dataset))
        if item and not newer(act, item, {"columns": said.columns}):
            return []
        known = dataset_of(item) if item else None
        if known:
            _check_step(known, said)
        attributes = _attributes(said, known)
        if item and all(item.get(name) == value for name, value in attributes.items()):
            return []
        kept = {name: item[name] for name in ("status", "note") if item and name in item}
        kept |= {"gsi1pk": keys.DATASETS, "gsi1sk": said.name}
        times = field_times(act, item, ["columns"])
        return [put(act, keys.dataset(said.name), "dataset", item, {**attributes, **kept, "field_times": times})]

    def answer(self, act: Act, decided: Decided) -> bool:
        return bool(decided.writes)


def dataset_of(item: Item) -> Dataset:
    """The declaration from its record."""
    return Dataset(
        name=item["dataset"],
        mode=Mode(item["mode"]),
        columns=tuple(DatasetColumn(**{**column, "type": Type(column["type"])}) for column in item["columns"]),
        key=tuple(item["key"]),
        order_by=item["order_by"],
        description=item["description"],
        owner=item.get("owner"),
        partition_by=item.get("partition_by"),
        status=DatasetStatus(item.get("status", DatasetStatus.ACTIVE)),
        note=item.get("note", ""),
    )


def check_owner(owner: str | None) -> None:
    """`Rejected` for what no batch can have as its source."""
    if owner is not None:
        check_context(specversion=SPECVERSION, event_id="any", source=owner, subject=None)


def check_feeds(dataset: Dataset, source: str) -> None:
    """`Rejected`: `dataset_dropped`, or `not_owner` when another source owns it."""
    if dataset.status is DatasetStatus.DROPPED:
        raise Rejected("dataset_dropped", f"dataset {dataset.name} was dropped; restore it, or send elsewhere")
    if dataset.owner not in {None, source}:
        raise Rejected("not_owner", f"dataset {dataset.name} is fed by its owner alone, {dataset.owner}")


def dataset_key(name: str) -> Key:
    """Where the declaration is stored."""
    check_name(name)
    return keys.dataset(name)


def _attributes(said: Dataset, known: Dataset | None) -> Item:
    """What is known stays in its order, and further columns follow."""
    order = [column.name for column in known.columns] if known else []
    names = dict.fromkeys([*order, *(column.name for column in said.columns)])
    columns = {column.name: column for column in said.columns}
    return {
        "dataset": said.name,
        "mode": str(said.mode),
        "columns": [_column_attributes(columns[name]) for name in names],
        "key": list(said.key),
        "order_by": said.order_by,
        "description": said.description,
        "owner": said.owner or (known.owner if known else None),
        "partition_by": said.partition_by,
    }


def _column_attributes(column: DatasetColumn) -> Item:
    return {
        "name": column.name,
        "type": str(column.type),
        "nullable": column.nullable,
        "description": column.description,
    }


def _check_step(known: Dataset, said: Dataset) -> None:
    if said.owner is not None and known.owner not in {None, said.owner}:
        raise _conflict(known, f"its owner is {known.owner}; `nilometer datasets give` changes that")
    for what in ("mode", "key", "order_by", "partition_by"):
        before, after = getattr(known, what), getattr(said, what)
        if before != after:
            raise _conflict(known, f"{what} is {_text(before)} for good, not {_text(after)}")
    columns = {column.name: column for column in said.columns}
    for column in known.columns:
        after = columns.pop(column.name, None)
        if after is None:
            raise _conflict(known, f"column {column.name} cannot be dropped; declare it too")
        if (column.type, column.nullable) != (after.type, after.nullable):
            raise _conflict(known, f"column {column.name} is {_form(column)} for good, not {_form(after)}")
    for column in columns.values():
        if not column.nullable:
            raise _conflict(known, f"column {column.name} is new, so it must be nullable: older rows have no value")


def _conflict(known: Dataset, what: str) -> Rejected:
    return Rejected("conflict", f"dataset {known.name}: {what}; or declare another dataset")


def _text(value: str | tuple[str, ...] | None) -> str:
    return (", ".join(value) if isinstance(value, tuple) else value) or "none"


def _form(column: DatasetColumn) -> str:
    return f"{column.type} {'null' if column.nullable else 'not null'}"


def _check_columns(dataset: Dataset) -> None:
    names = [column.name for column in dataset.columns]
    if not 0 < len(names) <= COLUMNS:
        raise Rejected("invalid_schema", f"a dataset has 1 to {COLUMNS} columns")
    for name in names:
        if not SLUG.fullmatch(name):
            raise Rejected("invalid_schema", f"column {name[:80]!r} is not a slug; use a-z, 0-9 and _, at most 64")
        if names.count(name) > 1 or name in STAMPED:
            raise Rejected("invalid_schema", f"column {name} is there already; the writer adds {', '.join(STAMPED)}")
    for column in dataset.columns:
        check_text("a description", column.description, DESCRIPTION_LENGTH, at_least=0)


def _check_key(dataset: Dataset) -> None:
    if dataset.mode is Mode.MERGE and not dataset.key:
        raise Rejected("invalid_schema", "merge needs a key: the columns that name a row")
    if len(dataset.key) > KEY_COLUMNS or len(set(dataset.key)) < len(dataset.key):
        raise Rejected("invalid_schema", f"a key has at most {KEY_COLUMNS} columns, each once")
    for name in dataset.key:
        _check_part(dataset, "key", name, allowed=_IDENTIFIES)


def _check_order(dataset: Dataset) -> None:
    if (dataset.order_by is None) is (dataset.mode is Mode.MERGE):
        raise Rejected(
            "invalid_schema", "order_by is the column that says which row of a key is newer: for merge alone"
        )
    if dataset.order_by is not None:
        _check_part(dataset, "order_by", dataset.order_by, allowed=_ORDERS)


def _check_part(dataset: Dataset, part: str, name: str, *, allowed: frozenset[Type]) -> None:
    found = [column for column in dataset.columns if column.name == name]
    if not found or found[0].nullable or found[0].type not in allowed:
        types = ", ".join(sorted(allowed))
        raise Rejected("invalid_schema", f"{part} {name[:80]!r} must be a column that is not nullable, of {types}")

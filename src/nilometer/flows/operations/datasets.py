"""The event type that declares a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from nilometer.domain.acts.origin import of_event
from nilometer.domain.lake import dataset
from nilometer.domain.lake.dataset import COLUMNS, DESCRIPTION_LENGTH, KEY_COLUMNS, Dataset
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Id, Operation, OperationType, OperationTypes, Slug, Stored

KeyColumns = Annotated[
    list[Slug], msgspec.Meta(max_length=KEY_COLUMNS, description="Columns that name a row; merge needs them")
]
Description = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_LENGTH)]


class Column(Data):
    """A column: what it is called, what it holds, and whether it may be empty."""

    name: Slug
    type: Literal["string", "json", "int64", "timestamp", "date", "decimal", "bool", "double"]
    nullable: bool = False
    description: Description = ""


class DatasetDeclared(Data):
    """A dataset exists from now on, or has further nullable columns; all else about it stays."""

    dataset: Slug
    mode: Annotated[Literal["append", "merge"], msgspec.Meta(description="merge keeps one row a key")]
    columns: Annotated[list[Column], msgspec.Meta(min_length=1, max_length=COLUMNS)]
    key: KeyColumns = msgspec.field(default_factory=list)
    order_by: Annotated[
        Slug | None, msgspec.Meta(description="Merge alone: of the rows of a key the one that is highest here stays")
    ] = None
    description: Description = ""
    actor: Id | None = None


def _dataset(operation: Operation) -> Dataset:
    said = {name: value for name, value in operation.data.items() if name not in {"dataset", "columns", "actor"}}
    columns = [
        dataset.new_column(
            column["name"],
            column["type"],
            nullable=column.get("nullable", False),
            description=column.get("description", ""),
        )
        for column in operation.data["columns"]
    ]
    return dataset.new_dataset(operation.data["dataset"], columns=columns, **said)


def _reads(operation: Operation) -> list[Key]:
    return [dataset.dataset_key(operation.data["dataset"])]


def _decides(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    origin = of_event(operation.event, actor=operation.data.get("actor"))
    [key] = _reads(operation)
    put = dataset.declare(stored.get(key), _dataset(operation), origin=origin, now=now)
    return [put] if put else []


TYPES: OperationTypes = {
    "dataset.declared.v1": OperationType(data=DatasetDeclared, reads=_reads, decide=_decides, has_workspace=False),
}

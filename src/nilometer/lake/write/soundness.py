"""Whether a table is as it was declared and as every reader can read it; its log alone is opened."""

from __future__ import annotations

from dataclasses import dataclass

from arro3.core import DataType
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from nilometer.domain.lake import tables
from nilometer.lake.tables.schema import APPEND_ONLY, data_type, properties
from nilometer.lake.tables.tables import table_uri

READER_VERSION = 1  # every reader of Delta can open it


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundness:
    """`version` is None when nothing has been written yet. `missing`, `retyped`, `strange` are columns."""

    name: str
    version: int | None
    reader_version: int = READER_VERSION
    writer_version: int = 2
    features: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    append_only: bool = True


def examine(table: tables.DeltaTable, *, lake_uri: str, storage_options: dict[str, str]) -> Soundness:
    """What is wrong with a table, from its log."""
    try:
        opened = DeltaTable(table_uri(lake_uri, table.name), storage_options=storage_options)
    except TableNotFoundError:
        return Soundness(name=table.name, version=None)
    protocol, types = opened.protocol(), _types(opened)
    declared = {column.name: data_type(column) for column in table.columns}
    wanted = properties(table)[APPEND_ONLY]
    return Soundness(
        name=table.name,
        version=opened.version(),
        reader_version=protocol.min_reader_version,
        writer_version=protocol.min_writer_version,
        features=tuple(sorted({*(protocol.reader_features or ()), *(protocol.writer_features or ())})),
        missing=tuple(name for name in declared if name not in types),
        retyped=tuple(name for name, type_ in declared.items() if name in types and types[name] != type_),
        strange=tuple(name for name in types if name not in declared),
        append_only=opened.metadata().configuration.get(APPEND_ONLY, "false") == wanted,
    )


def _types(opened: DeltaTable) -> dict[str, DataType]:
    arrow = opened.schema().to_arrow()
    return {name: arrow.field(name).type for name in arrow.names}

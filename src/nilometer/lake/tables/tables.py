"""Opening, creating and evolving a table, whoever else does the same at the same moment."""

from __future__ import annotations

from datetime import UTC, datetime

from arro3.core import Schema as ArrowSchema
from arro3.core import Table
from deltalake import DeltaTable, Field, PostCommitHookProperties, Schema
from deltalake.exceptions import TableNotFoundError

from nilometer.domain.lake import tables
from nilometer.lake.tables.schema import APPEND_ONLY, arrow_schema, field, nulls, properties

ADDED_AT = "nilometer.added_at"  # in the metadata of a column

# The default hook would list the whole log on every commit; maintenance cleans it.
NO_CLEANUP = PostCommitHookProperties(cleanup_expired_logs=False)


def table_uri(lake_uri: str, name: str) -> str:
    """The path of a table below the lake."""
    return f"{lake_uri.rstrip('/')}/{name}"


def open_or_create(lake_uri: str, table: tables.DeltaTable, storage_options: dict[str, str]) -> DeltaTable:
    """A fresh snapshot of the table with every declared column.

    Of two creators one wins version 0 and the other raises, as does an evolution that somebody overtook:
    the caller opens again. Both raise `DeltaError`.
    """
    uri = table_uri(lake_uri, table.name)
    try:
        snapshot = DeltaTable(uri, storage_options=storage_options)
    except TableNotFoundError:
        return _create(uri, table, storage_options)
    return evolve(snapshot, table)


def _create(uri: str, table: tables.DeltaTable, storage_options: dict[str, str]) -> DeltaTable:
    return DeltaTable.create(
        uri,
        arrow_schema(table),
        partition_by=tables.PARTITION if table.partitioned else table.partition_by,
        name=table.name,
        description=table.meaning,
        configuration=dict(properties(table)),
        storage_options=storage_options,
        post_commithook_properties=NO_CLEANUP,
    )


def evolve(snapshot: DeltaTable, table: tables.DeltaTable) -> DeltaTable:
    """Adds the declared columns that an older table lacks: nullable ones, and no other column is ever changed.

    Each remembers in the log when it was added, in the same commit.
    """
    known = {field.name for field in snapshot.schema().fields}
    missing = [column for column in table.columns if column.name not in known]
    if missing:
        now = datetime.now(UTC).isoformat()
        schema = Schema.from_arrow(ArrowSchema([field(column, {ADDED_AT: now}) for column in missing]))
        fields: list[Field] = list(schema.fields)
        snapshot.alter.add_columns(fields, post_commithook_properties=NO_CLEANUP)
    if not table.append_only and snapshot.metadata().configuration.get(APPEND_ONLY) == "true":
        # An earlier version closed a dataset that merges when it erased a person in it.
        snapshot.alter.set_table_properties({APPEND_ONLY: "false"}, post_commithook_properties=NO_CLEANUP)
    return snapshot


def paths(snapshot: DeltaTable) -> set[str]:
    """Of the files of this version."""
    return set(Table.from_arrow(snapshot.get_add_actions(flatten=True)).column("path").to_pylist())


def added_at(snapshot: DeltaTable, column: str) -> datetime | None:
    """When the column was added to a table that was older than it; None when the table has had it from the start."""
    [metadata] = [field.metadata for field in snapshot.schema().fields if field.name == column]
    added = metadata.get(ADDED_AT)
    return datetime.fromisoformat(str(added)) if added else None


def is_evolved(snapshot: DeltaTable) -> bool:
    """Whether a column was added after the first rows, so that older files may lack it."""
    return any(ADDED_AT in field.metadata for field in snapshot.schema().fields)


def conform(rows: Table, snapshot: DeltaTable) -> Table:
    """The rows with the stored columns in the stored order: an older writer fills a newer column with null."""
    stored = snapshot.schema().to_arrow()
    names = stored.names
    if names == rows.column_names:
        return rows
    fields = [rows.field(name) if name in rows.column_names else stored.field(name) for name in names]
    columns = [rows.column(f.name) if f.name in rows.column_names else nulls(f.type, rows.num_rows) for f in fields]
    return Table.from_arrays(columns, schema=ArrowSchema(fields))

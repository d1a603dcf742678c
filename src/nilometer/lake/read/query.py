"""Reading: SQL over the tables by name, and objects in S3. For analysts and the CLI; never imported by a Lambda.

DuckDB gets what the Delta log names (`sources`), because its own Delta extension comes from the network.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.dataset as ds  # type: ignore[import-untyped]  # pyarrow has no types
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from nilometer.domain.lake import tables
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import BOOKS, BOOKS_BY_OBJECT, HISTORY
from nilometer.domain.lake.dataset import FOLDER
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Rejected, Unavailable
from nilometer.lake.read.sources import add_table, dataset_of
from nilometer.lake.tables.order import BOOK_ORDER, newest_first
from nilometer.lake.tables.tables import table_uri

_DAMAGED = "Could not open Parquet input source"  # pyarrow's words; the file follows in quotes
_S3_SAID = re.compile("<Code>([A-Za-z]+)</Code>")
_DAMAGED_ON_DISK = re.compile(  # DuckDB's
    r"(?:No magic bytes|No files found|Failed to read file|Error: File )[^'\"]*['\"]([^'\"]*event_date=[^'\"]+)['\"]"
)
BATCH_ROWS = 10_000

_CURRENT = """create view {name} as select * from {history} where origin <> 'snapshot'
              qualify row_number() over (partition by account, livemode, object_id order by {order}) = 1"""
_CURRENT_PART = "create view {name} as select * from {history} where change_id in (select change_id from {owner})"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Column names, and rows that are read as they are asked for.

    `opened` are the tables that are read, but those that nothing was written to.
    """

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]
    opened: Mapping[str, DeltaTable]

    def versions(self) -> dict[str, tuple[int, datetime]]:
        """By table: version, and the time of its commit, which costs a request a table."""
        return {name: (table.version(), _committed_at(table)) for name, table in self.opened.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDescription:
    """One table as it is now. `version` is None when nothing has been written yet."""

    name: str
    location: str
    version: int | None
    rows: int
    files: int
    bytes: int


def query(
    sql: str,
    *,
    lake_uri: str,
    storage_options: dict[str, str],
    as_of: datetime | None = None,
    since: datetime | None = None,
    account: str = OWN_ACCOUNT,
    datasets: Iterable[str] = (),
) -> QueryResult:
    """Runs `sql` with every table of ours in view, empty when it is not written yet, and `datasets` in the schema
    `datasets`.

    SQL finds the two times as `getvariable('as_of')` (now) and `getvariable('since')` (31 days before), and the account
    at Stripe that is asked for as `getvariable('account')`.
    `Rejected("invalid_sql")` with DuckDB's own message. Times come back in UTC.
    """
    opened: dict[str, DeltaTable] = {}
    connection = connect(lake_uri=lake_uri, storage_options=storage_options, naming=sql, opened=opened)
    add_datasets(connection, datasets, lake_uri, storage_options, naming=sql)
    with _refusing_wrong_sql():
        set_variables(connection, as_of, since, account)
        relation = connection.sql(sql)
        if relation is None:
            raise Rejected("invalid_sql", "this statement returns no rows; the lake is read with SELECT")
        reader = relation.to_arrow_reader(BATCH_ROWS)
    return QueryResult(tuple(reader.schema.names), _rows(connection, reader), opened)


def _committed_at(table: DeltaTable) -> datetime:
    [commit] = table.history(limit=1)
    return datetime.fromtimestamp(int(commit["timestamp"]) / 1000, UTC)


def connect(
    *,
    lake_uri: str,
    storage_options: dict[str, str],
    naming: str | None = None,
    opened: dict[str, DeltaTable] | None = None,
    as_files: bool = True,
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view per table of the lake, and one of the current state per book (`subscriptions`).

    With `naming` only of those whose names stand in it: each table that is opened costs a listing of its log. `opened`
    is filled with what is there. `as_files`: whether the connection may read files by their paths.
    """
    connection = duckdb.connect()
    # Files of the lake never change, so what is said at the end of each is read once.
    connection.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
    for table in _named(naming):
        stored = _open(table.name, lake_uri, storage_options)
        with _refusing_wrong_sql():
            add_table(connection, table, stored, table_uri(lake_uri, table.name) if as_files else None)
        if stored and opened is not None:
            opened[table.name] = stored
        if table.name in BOOKS:
            connection.execute(current_view(table.name))
    return connection


def _named(naming: str | None) -> list[tables.DeltaTable]:
    """An owner comes before its parts, whose view asks it."""
    text = None if naming is None else naming.lower()
    wanted = {name for name in ALL_TABLES if text is None or name.removesuffix(HISTORY) in text}
    wanted |= {_OWNERS[name] for name in wanted if name in _OWNERS}
    return [table for table in ALL_TABLES.values() if table.name in wanted]


def current_view(history: str) -> str:
    """The statement that creates the view of a book's current state; of a part, the view of its owner comes first."""
    owner = _OWNERS.get(history, "").removesuffix(HISTORY)
    sql = _CURRENT_PART if owner else _CURRENT
    named = {"name": history.removesuffix(HISTORY), "history": history, "owner": owner}
    return sql.format(**named, order=newest_first(BOOK_ORDER))


_OWNERS = {table.name: book.table.name for book in BOOKS_BY_OBJECT.values() for _, table in book.parts}


def add_datasets(
    connection: duckdb.DuckDBPyConnection,
    names: Iterable[str],
    lake_uri: str,
    storage_options: dict[str, str],
    *,
    naming: str,
) -> None:
    """A view per connector dataset of these names that stands in `naming`, in the schema `datasets`. What is wrong with
    another one is no matter of this question; one without a log does not exist."""
    connection.execute(f"CREATE SCHEMA {FOLDER}")
    text = naming.lower()
    for name in names:
        path = f"{FOLDER}/{name}"
        if name.lower() in text and (opened := _open(path, lake_uri, storage_options)):
            connection.register(path, opened.to_pyarrow_dataset())
            connection.execute(f'CREATE VIEW {FOLDER}."{name}" AS FROM "{path}"')


def dataset(table: tables.DeltaTable, *, lake_uri: str, storage_options: dict[str, str]) -> ds.Dataset:
    """The newest version, with at least the declared columns when nothing has been written."""
    return dataset_of(table, _open(table.name, lake_uri, storage_options))


def describe(*, lake_uri: str, storage_options: dict[str, str], datasets: Iterable[str] = ()) -> list[TableDescription]:
    """Every table of ours and then `datasets`, from their logs alone; no data file is opened."""
    names = (*ALL_TABLES, *(f"{FOLDER}/{name}" for name in datasets))
    return [_describe(name, lake_uri, storage_options) for name in names]


def set_variables(
    connection: duckdb.DuckDBPyConnection,
    as_of: datetime | None = None,
    since: datetime | None = None,
    account: str = OWN_ACCOUNT,
) -> None:
    """`as_of` (now unless given), `since` (31 days before unless given) and `account` (the platform's own)."""
    connection.execute("SET VARIABLE account = ?", [account])
    connection.execute("SET VARIABLE as_of = coalesce(?::timestamptz, now())", [as_of])
    connection.execute(
        "SET VARIABLE since = coalesce(?::timestamptz, getvariable('as_of') - interval 31 days)", [since]
    )


def _describe(name: str, lake_uri: str, storage_options: dict[str, str]) -> TableDescription:
    opened = _open(name, lake_uri, storage_options)
    location = table_uri(lake_uri, name)
    if opened is None:
        return TableDescription(name=name, location=location, version=None, rows=0, files=0, bytes=0)
    files = pa.table(opened.get_add_actions(flatten=True))
    return TableDescription(
        name=name,
        location=location,
        version=opened.version(),
        rows=sum(files.column("num_records").to_pylist()),
        files=files.num_rows,
        bytes=sum(files.column("size_bytes").to_pylist()),
    )


def _open(name: str, lake_uri: str, storage_options: dict[str, str]) -> DeltaTable | None:
    uri = table_uri(lake_uri, name)
    try:
        return DeltaTable(uri, storage_options=storage_options)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise Unavailable(f"{uri} cannot be read: {_reason(str(error))}") from error


def _reason(message: str) -> str:
    """Why a table cannot be opened, and what to do: only what S3 did give can be damaged."""
    if found := _S3_SAID.search(message):
        return f"S3 answered {found[1]}; check credentials, rights and region"
    if "Error performing" in message:
        return "S3 did not answer, or refused; check network, credentials and rights"
    return f"{message.partition(chr(10))[0]}; bring a damaged file back from a copy"  # Rust's backtrace follows


def _rows(connection: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    """Keeps the connection alive for as long as there is something to read."""
    with connection, _refusing_wrong_sql():
        yield from rows_of(reader)


def rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    """Rows as Python has their values. `Rejected("invalid_sql")` for a day or time that it cannot hold."""
    for batch in batches:
        try:
            columns = [column.to_pylist() for column in batch.columns]
        except (OverflowError, ValueError):
            raise Rejected(
                "invalid_sql",
                "the answer has a day or time outside of the years 1 to 9999, or with nanoseconds; "
                "cast it to varchar, or to timestamp",
            ) from None
        yield from zip(*columns, strict=True)


@contextlib.contextmanager
def _refusing_wrong_sql() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if damaged := _damaged_file(str(error)):
            raise Unavailable(f"the file {damaged} of the lake is damaged; bring it back from a copy") from error
        raise Rejected("invalid_sql", str(error)) from error


def _damaged_file(message: str) -> str | None:
    if _DAMAGED in message:
        return message.split("'")[3]
    found = _DAMAGED_ON_DISK.search(message)
    return found[1] if found else None

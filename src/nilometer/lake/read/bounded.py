"""SQL that anybody may write: it reads the lake's tables and nothing else, within a time and a memory.

The tables are Arrow datasets that were opened before; then DuckDB loses files, network and extensions, and the lock
on its configuration keeps it so. Source: DuckDB documentation, "Securing DuckDB".
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import duckdb

from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Rejected
from nilometer.lake.read.query import add_datasets, connect, rows_of, set_variables

SECONDS = 20.0
MEMORY = "512MB"
ROWS = 1_000
_LOCK = """
    set memory_limit = '{memory}'; set threads = 2; set temp_directory = ''; set python_enable_replacements = false;
    set autoinstall_known_extensions = false; set autoload_known_extensions = false;
    set enable_external_access = false; set lock_configuration = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedResult:
    """Columns and at most as many rows as were asked for; `more` when there are others."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    more: bool

    def as_dicts(self) -> list[dict[str, Any]]:
        """Rows by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def bounded_query(
    sql: str,
    *,
    lake_uri: str,
    storage_options: dict[str, str],
    values: Mapping[str, Any] | None = None,
    as_of: datetime | None = None,
    since: datetime | None = None,
    account: str = OWN_ACCOUNT,
    datasets: Iterable[str] = (),
    limit: int = ROWS,
    seconds: float = SECONDS,
) -> BoundedResult:
    """As `query`, with `values` for `$names`, closed when it returns.

    `Rejected("invalid_sql")` with DuckDB's message; `Rejected("too_slow")` after `seconds`.
    """
    connection = connect(lake_uri=lake_uri, storage_options=storage_options, naming=sql, as_files=False)
    with connection, _interrupted(connection, seconds):
        add_datasets(connection, datasets, lake_uri, storage_options, naming=sql)
        set_variables(connection, as_of, since, account)
        connection.execute(_LOCK.format(memory=MEMORY))
        relation = connection.sql(sql, params=dict(values)) if values else connection.sql(sql)
        if relation is None:
            raise Rejected("invalid_sql", "this statement returns no rows; the lake is read with SELECT")
        reader = relation.to_arrow_reader(limit + 1)
        columns, rows = tuple(reader.schema.names), list(islice(rows_of(reader), limit + 1))
    return BoundedResult(columns=columns, rows=rows[:limit], more=len(rows) > limit)


@contextmanager
def _interrupted(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Cuts what runs when the time is over."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        raise Rejected(
            "too_slow", f"it took longer than {seconds:g} s; ask for less, or use `nilometer query`"
        ) from None
    except duckdb.Error as error:
        raise Rejected("invalid_sql", str(error)) from error
    finally:
        timer.cancel()

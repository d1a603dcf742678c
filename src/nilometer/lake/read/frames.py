"""The lake as Polars frames: `nilometer.lake.scan`. Needs the extra `frames`."""

from __future__ import annotations

import polars as pl

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import BOOKS_BY_OBJECT, HISTORY, SNAPSHOT
from nilometer.errors import Rejected
from nilometer.lake.read.analyst import LakeStack, where
from nilometer.lake.tables.order import BOOK_ORDER
from nilometer.lake.tables.tables import table_uri

_OWNERS = {part.shape.name: book.name for book in BOOKS_BY_OBJECT.values() for part, _ in book.parts}
_OBJECT = ("account", "livemode", "object_id")


def scan(name: str, place: str | LakeStack) -> pl.LazyFrame:
    """A table (`usage`, `invoices_history`), or the current state of a book (`invoices`), read when it is collected.

    `Rejected("unknown_table")` for another name; deltalake's `TableNotFoundError` when nothing was written to it yet.
    """
    history = f"{name}{HISTORY}"
    if name not in ALL_TABLES and history not in ALL_TABLES:
        raise Rejected("unknown_table", f"there is no table {name}; ours are {', '.join(ALL_TABLES)}")
    uri, options = where(place)
    readable = {option: value for option, value in options.items() if option.startswith("AWS_")}  # Polars' own names
    stored = pl.scan_delta(table_uri(uri, name if name in ALL_TABLES else history), storage_options=readable)
    if name in ALL_TABLES:
        return stored
    if name in _OWNERS:
        return stored.join(scan(_OWNERS[name], place).select("change_id"), on="change_id", how="semi")
    resolved = stored.filter(pl.col("origin") != SNAPSHOT).sort(*BOOK_ORDER)
    return resolved.unique(subset=_OBJECT, keep="last", maintain_order=True)

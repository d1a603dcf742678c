"""The law of the books: an object's current row says what its register says, field by field.

An object whose register has not changed since its book began has no row: `nilometer backfill objects` brings it where
Stripe says more of it than the register knew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.domain.lake.books import BOOKS_BY_OBJECT, HISTORY, REGISTER, Book
from nilometer.domain.lake.tables import Type
from nilometer.domain.recovery.verification import ComparedEntry, Difference, DifferenceKind, compare
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.stripe.registers.item import register_of
from nilometer.domain.stripe.registers.resolve import resolve
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.read.ordering import ordered

_json = msgspec.json.Encoder(decimal_format="number", order="deterministic")


def compared_books(store: Store, ledger: Ledger) -> Iterator[ComparedEntry | Difference]:
    """Every object of every book: (object type, account, mode, id)."""
    scanned = (row for item in store.scan(Table.RECORDS, kind=REGISTER) for row in _register_row(item))
    registers = (
        ComparedEntry(tuple(key), json.loads(row, parse_float=Decimal), at) for *key, row, at in ordered(scanned, by=4)
    )
    began = {name: ledger.book_began(_name(book)) for name, book in BOOKS_BY_OBJECT.items()}
    for one in compare(registers, _booked(ledger)):
        missing = isinstance(one, Difference) and one.kind is DifferenceKind.MISSING_IN_LAKE
        if missing and _is_older(one, began[one.key[0]]):
            continue
        yield one


def _is_older(one: Difference | ComparedEntry, began: datetime | None) -> bool:
    return began is None or one.changed_at < rfc3339(began)


def _register_row(item: Item) -> Iterator[tuple[str, ...]]:
    book = BOOKS_BY_OBJECT.get(str(item.get("object_type")))
    resolution = resolve(register_of(item)) if book else None
    if book and resolution:
        row = book.row(resolution)
        key = (book.object_type, str(item["account"]), _mode(item["livemode"]), row["object_id"])
        yield *key, _json.encode(row).decode(), str(item.get("updated_at", ""))


def _booked(ledger: Ledger) -> Iterator[ComparedEntry]:
    for object_type, book in sorted(BOOKS_BY_OBJECT.items()):
        for row in ledger.book(_name(book)):
            key = (object_type, row["account"], _mode(row["livemode"]), row["object_id"])
            yield ComparedEntry(key, _as_said(book, row), rfc3339(row["known_at"]))


def _as_said(book: Book, row: dict[str, Any]) -> dict[str, Any]:
    """The columns that come from the object, as a register says them."""
    said = {name: _said(kind, row[name]) for name, (_, kind) in book.fields.items()}
    other = _said(Type.JSON, row["other"])
    return {"object_id": row["object_id"], **said, "deleted": row["deleted"], "other": other}


def _said(kind: Type, value: Any) -> Any:
    if value is None:
        return None
    if kind is Type.TIMESTAMP:
        return rfc3339(value)
    return json.loads(value, parse_float=Decimal) if kind is Type.JSON else value


def _name(book: Book) -> str:
    return book.table.name.removesuffix(HISTORY)


def _mode(livemode: bool) -> str:
    return "true" if livemode else "false"

"""The law of the books: an object's current row says what its register says, field by field.

An object whose register has not changed since its book began has no row: `nilometer backfill objects` brings it where
Stripe says more of it than the register knew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.domain.lake.book_columns import BookColumn, BookPart
from nilometer.domain.lake.books import BOOKS_BY_OBJECT, REGISTER, Book, part_rows
from nilometer.domain.lake.tables import Type
from nilometer.domain.recovery.verification import ComparedEntry, Difference, DifferenceKind, compare
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.stripe.registers.register import register_of
from nilometer.domain.stripe.registers.resolve import resolve
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.read.ordering import ordered

_json = msgspec.json.Encoder(decimal_format="number", order="deterministic")


def compared_books(store: Store, ledger: Ledger) -> Iterator[ComparedEntry | Difference]:
    """Every object of every book by (object type, account, mode, id), and every element of their lists by
    (`invoice.lines`, account, mode, `id/id`)."""
    scanned = (row for item in store.scan(Table.RECORDS, kind=REGISTER) for row in _register_row(item))
    registers = (
        ComparedEntry(tuple(key), json.loads(row, parse_float=Decimal), at) for *key, row, at in ordered(scanned, by=4)
    )
    began = {one.name: ledger.book_began(one.view) for one in _COMPARED}
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
    if not book or not resolution:
        return
    whose = (str(item["account"]), _mode(item["livemode"]))
    changed_at = str(item.get("updated_at", ""))
    row = book.row(resolution.state)
    yield book.object_type, *whose, row["object_id"], _json.encode(row).decode(), changed_at
    for part, _ in book.parts:
        for one in part_rows(part, resolution.state):
            id_ = f"{row['object_id']}/{one['object_id']}"
            yield _part_name(book, part), *whose, id_, _json.encode(one).decode(), changed_at


def _booked(ledger: Ledger) -> Iterator[ComparedEntry]:
    for one in _COMPARED:
        for row in ledger.book(one.view, one.owner):
            id_ = f"{row[one.owner]}/{row['object_id']}" if one.owner else row["object_id"]
            key = (one.name, row["account"], _mode(row["livemode"]), id_)
            yield ComparedEntry(key, _as_said(one, row), rfc3339(row["known_at"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """One view of the current state: of objects, or with `owner` of their parts."""

    name: str
    view: str
    columns: tuple[BookColumn, ...]
    owner: str | None = None


def _compared() -> Iterator[_Compared]:
    for book in BOOKS_BY_OBJECT.values():
        yield _Compared(name=book.object_type, view=book.name, columns=book.columns)
        for part, _ in book.parts:
            yield _Compared(
                name=_part_name(book, part), view=part.shape.name, columns=part.shape.columns, owner=part.owner
            )


def _part_name(book: Book, part: BookPart) -> str:
    return f"{book.object_type}.{part.list}"


_COMPARED = tuple(sorted(_compared(), key=attrgetter("name")))


def _as_said(one: _Compared, row: dict[str, Any]) -> dict[str, Any]:
    """The columns that come from the object, as a register says them."""
    said = {column.name: _said(column.type, row[column.name]) for column in one.columns}
    place = {"position": row["position"]} if one.owner else {"deleted": row["deleted"]}
    return {"object_id": row["object_id"], **place, **said, "other": _said(Type.JSON, row["other"])}


def _said(kind: Type, value: Any) -> Any:
    if value is None:
        return None
    if kind is Type.TIMESTAMP:
        return rfc3339(value)
    if kind is Type.DECIMAL:
        return format(value, "f")
    return json.loads(value, parse_float=Decimal) if kind is Type.JSON else value


def _mode(livemode: bool) -> str:
    return "true" if livemode else "false"

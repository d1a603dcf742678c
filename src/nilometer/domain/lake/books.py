"""The books: Stripe's objects as tables with their history, one row each time that what we know of an object changes.

Two sources. What a register resolves to: so events, backfill, reconcile and refetch all land, in any order, once; the
current state is the newest of these rows of an object, by `known_at` and then `sequence_number`. And each event's own
snapshot (`origin` is `snapshot`), also of an event that came late: so what was so at Stripe at any second does not
depend on the order of arrival. Rows are appended and never changed.

The columns are a whitelist: a register keeps nothing that names a person; what it keeps is named in `book_columns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from nilometer.domain.lake import redaction
from nilometer.domain.lake.book_columns import SHAPES, BookColumn, BookPart, BookShape
from nilometer.domain.lake.change import Change, ItemAction, change_id
from nilometer.domain.lake.tables import Column, DeltaTable, Type, created_column, day_column, recorded_column
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Item
from nilometer.domain.stripe.event import KEPT, Scope, StripeEvent
from nilometer.domain.stripe.registers.register import FETCHED, REFETCH, Element, of_event, register_of
from nilometer.domain.stripe.registers.resolve import Resolution, resolve

REGISTER = "register"
HISTORY = "_history"
"""What the name of a table of history ends with; the view of the current state has the name before it."""
SNAPSHOT = "snapshot"
"""`origin` of a row that is an event's own snapshot and no resolution of a register."""

Rows = Iterator[tuple[str, dict[str, Any]]]
"""(table, row)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One Stripe object: its table, and which fields of its state are columns; `parts` are tables of its lists."""

    object_type: str
    table: DeltaTable
    columns: tuple[BookColumn, ...]
    parts: tuple[tuple[BookPart, DeltaTable], ...] = ()

    @property
    def name(self) -> str:
        """Of the view of its current state."""
        return self.table.name.removesuffix(HISTORY)

    def row(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that come from the object itself, as JSON values; times as RFC 3339. A summary of entitlements
        has its customer's id."""
        apart = {part.list for part, _ in self.parts} | {"id", "object", "deleted"}
        return {
            "object_id": state.get("id") or state.get("customer") or "",
            **_columns(self.columns, state, apart),
            "deleted": bool(state.get("deleted")),
        }


def book_rows(change: Change) -> Rows:
    """Of a changed register; nothing when it resolves to what it resolved to before."""
    known = _resolved(change.new) if change.action in {ItemAction.INSERT, ItemAction.MODIFY} else None
    if known is None or change.new is None or _same(known, _resolved(change.old)):
        return
    origin = origin_of(known)
    how = {
        "ambiguous": known.ambiguous,
        "valid_from": rfc3339_of(known.second),
        "origin": origin,
        "digest": known.digest,
        "rank": FETCHED if origin == "api" else None,
    }
    yield from _rows(change, change.new, known.state, how)


def snapshot_rows(change: Change, payload: Mapping[str, Any]) -> Rows:
    """Of a Stripe event's fact and its payload: what the event says, whatever its object's register makes of it.

    Nothing for a payload that shows no object: the event's own row must not depend on it.
    """
    data = payload.get("data")
    if not isinstance(data, Mapping) or not isinstance(data.get("object"), Mapping):
        return
    element = _element(change.item, data)
    how = {
        "ambiguous": False,
        "valid_from": rfc3339_of(element.second),
        "origin": SNAPSHOT,
        "digest": element.post,
        "previous_digest": element.pre,
        "rank": element.rank,
    }
    yield from _rows(_of_fact(change), change.item, element.state or {}, how)


def _of_fact(change: Change) -> Change:
    """Named and dated by the fact and not by its stream: a copy of the fact in another table gives the same row.

    A fact that is written anew after its expiry is another one: its row is of another day, where no row is looked for.
    """
    fact = change.item
    written = int(fact["expires_at"]) - int(KEPT.total_seconds())
    id_ = change_id(str(fact["account"]), f"{fact['event_id']}\n{written}")
    return replace(change, change_id=id_, occurred_at=written)


def has_book(fact: Item) -> bool:
    """Whether a Stripe event's snapshot is a row of a table; a thin notification has none."""
    return fact.get("object_type") in BOOKS_BY_OBJECT and bool(fact.get("object_id")) and not fact.get("thin")


def _element(fact: Item, data: Mapping[str, Any]) -> Element:
    return of_event(
        StripeEvent(
            id=str(fact["event_id"]),
            type=str(fact["type"]),
            scope=Scope(account=str(fact["account"]), livemode=bool(fact["livemode"])),
            created=int(fact["created"]),
            object=data["object"],
            previous=data.get("previous_attributes"),
            api_version=fact.get("api_version"),
        )
    )


def _rows(change: Change, item: Item, state: Mapping[str, Any], how: Mapping[str, Any]) -> Rows:
    book = BOOKS_BY_OBJECT.get(str(state.get("object")))
    if book is None:
        return
    common = {
        "change_id": change.change_id,
        "account": str(item["account"]),
        "livemode": bool(item["livemode"]),
        **how,
        "known_at": rfc3339_of(change.occurred_at),
        "created": change.occurred_at,
        "cause": change.event_id,
        "sequence_number": change.padded_number,
    }
    row = book.row(state)
    yield book.table.name, {**common, **row}
    for part, table in book.parts:
        owner = {part.owner: row["object_id"], "deleted": row["deleted"]}
        yield from ((table.name, {**common, **owner, **one}) for one in part_rows(part, state))


def part_rows(part: BookPart, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The elements of a list, a row each, the first of each id: a row's key has the id."""
    found: dict[str, dict[str, Any]] = {}
    for position, one in enumerate(state.get(part.list) or ()):
        id_ = str(one.get("id") or position)
        row = {"object_id": id_, "position": position, **_columns(part.shape.columns, one, {"id"})}
        found.setdefault(id_, row)
    return list(found.values())


def _columns(columns: Sequence[BookColumn], state: Mapping[str, Any], apart: set[str]) -> dict[str, Any]:
    named = {column.field.partition(".")[0] for column in columns} | apart
    other = {name: value for name, value in state.items() if name not in named}
    return {
        **{column.name: _value(column.type, _field(state, column.field)) for column in columns},
        "other": redaction.stripe_payload(other) or None,
    }


def _field(state: Mapping[str, Any], name: str) -> Any:
    outer, _, inner = name.partition(".")
    found = state.get(outer)
    return (found or {}).get(inner) if inner else found


def origin_of(resolution: Resolution) -> str:
    """Whether an event said it, or an answer of Stripe's API: backfill, reconcile or refetch."""
    return "api" if resolution.type == REFETCH else "event"


def _resolved(item: Item | None) -> Resolution | None:
    return resolve(register_of(item)) if item else None


def _same(left: Resolution, right: Resolution | None) -> bool:
    return right is not None and (left.digest, left.second, left.ambiguous) == (
        right.digest,
        right.second,
        right.ambiguous,
    )


def _value(kind: Type, value: Any) -> Any:
    if value is None or value in ({}, []):
        return None
    if kind is Type.TIMESTAMP:
        return rfc3339_of(int(value))
    if kind is Type.DECIMAL:
        return format(Decimal(str(value)).quantize(Decimal("1e-9")), "f")
    if kind is Type.JSON:
        return redaction.stripe_payload(value)
    return value


def _book(object_type: str, shape: BookShape) -> Book:
    rows = "a row each time that what is known of one changes, and one for each event"
    parts = tuple((part, _part_table(part)) for part in shape.parts)
    return Book(object_type=object_type, table=_table(shape, rows), columns=shape.columns, parts=parts)


def _part_table(part: BookPart) -> DeltaTable:
    own = (
        _column(part.owner, _S, "What it is part of", "`id`", must=True),
        _column("position", Type.INT64, "Its place in the list, from 0", "the list", must=True),
    )
    return _table(part.shape, "a row each for each row of what they are part of", own, ("change_id", "object_id"))


def _table(
    shape: BookShape, rows: str, own: tuple[Column, ...] = (), key: tuple[str, ...] = ("change_id",)
) -> DeltaTable:
    return DeltaTable(
        name=f"{shape.name}{HISTORY}",
        meaning=f"{shape.meaning}: {rows}.",
        key=key,
        columns=(
            day_column("known_at"),
            _column("change_id", _S, "The change of a register, or the fact, that it is from", _RELAYED, must=True),
            _column("object_id", _S, "Stripe's id", "`id`", must=True),
            *own,
            _column("account", _S, "Connected account, or `self`", "`account`", must=True),
            _column("livemode", _B, "False in a sandbox", "`livemode`", must=True),
            *(_shown(one) for one in shape.columns if one.version == 1),
            _column("deleted", _B, "Whether it is gone at Stripe", "an event, or a 404", must=True),
            _column("ambiguous", _B, "Whether the evidence leaves a doubt", "register", must=True),
            _column("other", Type.JSON, "What has no column of its own", "register"),
            _column("valid_from", _T, "Since when it is so at Stripe, to the second", "the event or answer", must=True),
            _column("known_at", _T, "Time at which the pipeline recorded it", _RELAYED, must=True),
            created_column("`known_at`"),
            _column("origin", _S, _ORIGINS, "register or fact", must=True),
            _column("cause", _S, "Event or answer that reported it", "`cause`"),
            _column("digest", _S, "Names the state: equal states, equal digests", "register", must=True),
            _column("previous_digest", _S, "Digest of the state before, from an event's snapshot", "event"),
            _column("rank", Type.INT64, "Place in the object's life, among states of one second", "event"),
            _column("sequence_number", _S, "Order within one second of `known_at`", _STREAM, must=True),
            recorded_column(),
            *(_shown(one) for one in shape.columns if one.version > 1),  # a step adds at the end
        ),
    )


def _shown(one: BookColumn) -> Column:
    return replace(_column(one.name, one.type, one.meaning, f"`{one.field}`"), version=one.version)


_S, _B, _T = Type.STRING, Type.BOOL, Type.TIMESTAMP
_STREAM = "DynamoDB stream"
_RELAYED = "DynamoDB stream; of a snapshot the fact"
_ORIGINS = "event or api (backfill, reconcile, refetch): the resolved register; snapshot: the state in an event"
_FILTERED = frozenset(
    {"object_id", "customer_id", "workspace_id", "subscription_id", "invoice_id", "valid_from", "known_at", "status"}
)


def _column(name: str, kind: Type, meaning: str, source: str, *, must: bool = False) -> Column:
    return Column(
        name=name,
        type=kind,
        meaning=meaning,
        source=source,
        example="",
        nullable=not must,
        statistics=name in _FILTERED,
    )


BOOKS_BY_OBJECT: Mapping[str, Book] = {object_type: _book(object_type, shape) for object_type, shape in SHAPES.items()}
BOOKS: Mapping[str, DeltaTable] = {
    table.name: table
    for book in BOOKS_BY_OBJECT.values()
    for table in (book.table, *(table for _, table in book.parts))
}
"""The Delta tables, by name; those of parts too."""

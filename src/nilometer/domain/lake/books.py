"""The books: Stripe's objects as tables with their history, one row each time that what we know of an object changes.

Fed from one source, what a register resolves to, so events, backfill, reconcile and refetch all land, in any order,
once. Append-only: the current state is the row with the highest `sequence_number` of an object. Asked as of a time and
as known at another, it is the highest (`valid_from`, `sequence_number`) of the rows with `valid_from` and `known_at` up
to those. Money is a whole number of minor units beside its currency. What has no column of its own is in `other`.

The columns are a whitelist: a register keeps nothing that names a person, and what it keeps is named here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nilometer.domain.lake import redaction
from nilometer.domain.lake.change import Change, ItemAction
from nilometer.domain.lake.tables import Column, DeltaTable, Type, created_column, day_column, recorded_column
from nilometer.domain.store.times import from_epoch, rfc3339
from nilometer.domain.store.writes import Item
from nilometer.domain.stripe.registers.item import register_of
from nilometer.domain.stripe.registers.register import REFETCH
from nilometer.domain.stripe.registers.resolve import Resolution, resolve

REGISTER = "register"
HISTORY = "_history"
"""What the name of a table of history ends with; the view of the current state has the name before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One Stripe object: its table, and which fields of its state are columns."""

    object_type: str
    table: DeltaTable
    fields: Mapping[str, tuple[str, Type]]
    """By column: the field of the state, and its type."""

    def row(self, resolution: Resolution) -> dict[str, Any]:
        """The columns that come from the object itself, as JSON values; times as RFC 3339."""
        state = resolution.state
        named = {field for field, _ in self.fields.values()} | {"id", "object", "deleted"}
        other = {name: value for name, value in state.items() if name not in named}
        return {
            "object_id": state.get("id") or "",
            **{column: _value(kind, state.get(field)) for column, (field, kind) in self.fields.items()},
            "deleted": resolution.deleted,
            "other": redaction.stripe_payload(other) or None,
        }


def book_rows(change: Change) -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, row) of a changed register; nothing when it resolves to what it resolved to before."""
    known = _resolved(change.new) if change.action in {ItemAction.INSERT, ItemAction.MODIFY} else None
    book = BOOKS_BY_OBJECT.get(str(known.state.get("object"))) if known else None
    if known is None or book is None or change.new is None or _same(known, _resolved(change.old)):
        return
    yield (
        book.table.name,
        {
            "change_id": change.change_id,
            "account": str(change.new["account"]),
            "livemode": bool(change.new["livemode"]),
            **book.row(known),
            "ambiguous": known.ambiguous,
            "valid_from": rfc3339(from_epoch(known.second)),
            "known_at": rfc3339(from_epoch(change.occurred_at)),
            "created": change.occurred_at,
            "origin": origin_of(known),
            "cause": change.event_id,
            "digest": known.digest,
            "sequence_number": change.padded_number,
        },
    )


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
        return rfc3339(from_epoch(int(value)))
    if kind is Type.JSON:
        return redaction.stripe_payload(value)
    return value


_S, _N, _B, _T, _J = Type.STRING, Type.INT64, Type.BOOL, Type.TIMESTAMP, Type.JSON
_COMMON: tuple[tuple[str, Type, str, str], ...] = (
    ("customer_id", _S, "Its customer", "customer"),
    ("created_at", _T, "Its creation at Stripe", "created"),
)
_MONEY = ("currency", _S, "ISO code of the currency, lower case", "currency")
_CHARGE = ("charge_id", _S, "Its charge", "charge")
_INTENT = ("payment_intent_id", _S, "Its payment intent", "payment_intent")
_STATUS = ("status", _S, "Stripe's status", "status")
_REASON = ("reason", _S, "Stripe's reason", "reason")
_WORKSPACE = ("workspace_id", _S, "Workspace that its metadata names", "workspace_id")
_CATALOG = ("metadata", _J, "The catalog's own metadata: plan, limits, seats, features", "metadata")

_DECLARED: Mapping[str, tuple[str, str, tuple[tuple[str, Type, str, str], ...]]] = {
    "customer": (
        "customers",
        "Customers, without personal data",
        (
            _WORKSPACE,
            ("delinquent", _B, "Whether a payment is overdue", "delinquent"),
            ("default_payment_method_id", _S, "What it pays with", "default_payment_method"),
        ),
    ),
    "product": (
        "products",
        "Products",
        (("name", _S, "Its name", "name"), ("active", _B, "Whether it is sold", "active"), _CATALOG),
    ),
    "price": (
        "prices",
        "Prices",
        (
            ("product_id", _S, "Its product", "product"),
            ("active", _B, "Whether it is sold", "active"),
            _MONEY,
            ("unit_amount", _N, "Price of one in minor units", "unit_amount"),
            ("interval", _S, "day, week, month or year; null when it is paid once", "interval"),
            ("interval_count", _N, "Intervals that one payment is for", "interval_count"),
            ("lookup_key", _S, "Its lookup key", "lookup_key"),
            _CATALOG,
        ),
    ),
    "subscription": (
        "subscriptions",
        "Subscriptions with their items",
        (
            _WORKSPACE,
            _STATUS,
            ("collection_method", _S, "charge_automatically or send_invoice", "collection_method"),
            ("cancel_at_period_end", _B, "Whether it ends with its period", "cancel_at_period_end"),
            ("cancel_at", _T, "When it will end", "cancel_at"),
            ("canceled_at", _T, "When its end was asked for", "canceled_at"),
            ("ended_at", _T, "When it ended", "ended_at"),
            ("trial_start", _T, "Begin of the trial", "trial_start"),
            ("trial_end", _T, "End of the trial", "trial_end"),
            ("latest_invoice_id", _S, "Its newest invoice", "latest_invoice"),
            ("schedule_id", _S, "Its schedule", "schedule"),
            ("pause", _J, "How its collection is paused, and until when", "pause"),
            ("items", _J, "Price, product, quantity, amount in minor units, interval and period of each item", "items"),
        ),
    ),
    "invoice": (
        "invoices",
        "Invoices",
        (
            _STATUS,
            ("subscription_id", _S, "Its subscription", "subscription"),
            _MONEY,
            ("subtotal", _N, "Before discounts and tax, in minor units", "subtotal"),
            ("total", _N, "After discounts and tax, in minor units", "total"),
            ("amount_due", _N, "To be paid, in minor units", "amount_due"),
            ("amount_paid", _N, "Paid, in minor units", "amount_paid"),
            ("amount_remaining", _N, "Still to be paid, in minor units", "amount_remaining"),
            ("attempt_count", _N, "Attempts to collect it", "attempt_count"),
            ("due_date", _T, "When it is due", "due_date"),
            ("finalized_at", _T, "When it was finalized", "finalized_at"),
            ("next_payment_attempt", _T, "The next attempt to collect it", "next_payment_attempt"),
        ),
    ),
    "charge": (
        "charges",
        "Charges",
        (
            _STATUS,
            ("invoice_id", _S, "Its invoice", "invoice"),
            _INTENT,
            _MONEY,
            ("amount", _N, "In minor units", "amount"),
            ("amount_refunded", _N, "Given back, in minor units", "amount_refunded"),
            ("disputed", _B, "Whether it is disputed", "disputed"),
            ("refunded", _B, "Whether all of it was given back", "refunded"),
        ),
    ),
    "refund": (
        "refunds",
        "Refunds",
        (_STATUS, _REASON, _CHARGE, _INTENT, _MONEY, ("amount", _N, "In minor units", "amount")),
    ),
    "dispute": (
        "disputes",
        "Disputes",
        (_STATUS, _REASON, _CHARGE, _INTENT, _MONEY, ("amount", _N, "In minor units", "amount")),
    ),
}


def _book(object_type: str) -> Book:
    name, meaning, own = _DECLARED[object_type]
    declared = tuple(one for one in _COMMON if object_type != "customer" or one[0] != "customer_id") + own
    table = DeltaTable(
        name=f"{name}{HISTORY}",
        meaning=f"{meaning}: a row each time that what is known of one changes.",
        key=("change_id",),
        columns=(
            day_column("known_at"),
            _column("change_id", _S, "The change of the register that this row is", "DynamoDB stream", must=True),
            _column("object_id", _S, "Stripe's id", "`id`", must=True),
            _column("account", _S, "Connected account, or `self`", "`account`", must=True),
            _column("livemode", _B, "False in a sandbox", "`livemode`", must=True),
            *(_column(column, kind, meaning, f"`{field}`") for column, kind, meaning, field in declared),
            _column("deleted", _B, "Whether it is gone at Stripe", "an event, or a 404", must=True),
            _column("ambiguous", _B, "Whether the evidence leaves a doubt", "register", must=True),
            _column("other", _J, "What has no column of its own", "register"),
            _column("valid_from", _T, "Since when it is so at Stripe, to the second", "the event or answer", must=True),
            _column("known_at", _T, "Since when we know it", "DynamoDB stream", must=True),
            created_column("`known_at`"),
            _column("origin", _S, "event, or api: backfill, reconcile or refetch", "register", must=True),
            _column("cause", _S, "Event or answer that told it", "`cause`"),
            _column("digest", _S, "Names the state: equal states, equal digests", "register", must=True),
            _column("sequence_number", _S, "Order of what we knew of one object", "DynamoDB stream", must=True),
            recorded_column(),
        ),
    )
    return Book(
        object_type=object_type,
        table=table,
        fields={column: (field, kind) for column, kind, _, field in declared},
    )


_FILTERED = frozenset(
    {"object_id", "customer_id", "workspace_id", "subscription_id", "valid_from", "known_at", "status"}
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


BOOKS_BY_OBJECT: Mapping[str, Book] = {object_type: _book(object_type) for object_type in _DECLARED}
BOOKS: Mapping[str, DeltaTable] = {book.table.name: book.table for book in BOOKS_BY_OBJECT.values()}

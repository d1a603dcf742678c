"""What each kind of change becomes: a row of a table, or the change itself as an event; and what is announced with it.

A kind that is not named here is written to the audit when it is a record, and passed over when it is a fact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.eventbridge import ENTRY_BYTES, BusEntry
from nilometer.aws.s3 import Objects
from nilometer.domain.access.lockout import LOCKED_OUT, locked_out
from nilometer.domain.billing.record.changes import BillingChange, billing_changes, own_limits_changes
from nilometer.domain.lake import exact, redaction, rows
from nilometer.domain.lake.books import REGISTER, book_rows, has_book, snapshot_rows
from nilometer.domain.lake.change import Change, ItemAction, audit_row
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE
from nilometer.domain.limits import own as own_limits
from nilometer.domain.store.compressed import unpack
from nilometer.domain.store.times import from_epoch, rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.inbox.envelope import CHANGES, RECORD_CHANGED
from nilometer.flows.lake.proof import signed

ROW_PAYLOAD_BYTES = 700_000  # a larger payload rests in S3 and the row carries the reference
ENTRY_MARGIN = 2_000  # for the bus' own count of source, detail type and time
PAYLOADS = "payloads"  # kept as long as the rows that refer to it: for ever

TOLD = frozenset({"workspace", "billing", "meter", "alert", "membership", "invitation"})
"""Kinds of records whose changes a rule of ours waits for on the bus."""

_json = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_text = _json.encode


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A row for a packed message, as JSON."""

    table: str
    content: bytes


@dataclass(frozen=True, slots=True)
class RelayMeans:
    """What a change needs on its way out: where large parts rest, and the key that proves who sent it.

    Without `tells_all` the bus hears of the kinds in `TOLD` alone.
    """

    objects: Objects
    key: str
    tells_all: bool = True

    def tells(self, kind: str) -> bool:
        """Whether a change of this kind goes over the bus to the lake; else it goes straight to the lake's queue."""
        return self.tells_all or kind in TOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeKind:
    """One row of the table. `output` is None for what nobody needs; all ids are the same at each delivery."""

    output: Callable[[Change, RelayMeans], PackedRow | BusEntry | None]
    announces: Callable[[Change], Iterable[BusEntry]] = lambda _change: ()
    books: Callable[[Change, RelayMeans], Iterable[PackedRow]] = lambda _change, _means: ()
    """Rows of other tables than the audit."""


def kind_of(change: Change) -> ChangeKind:
    """The row that this change is treated by."""
    known = KINDS.get((change.table, change.kind))
    return known or (_AUDITED if change.table is Table.RECORDS else _PASSED_OVER)


def announced(change: Change) -> Iterable[BusEntry]:
    """What a change means to its workspace, as events of their own."""
    return kind_of(change).announces(change)


def _changed(change: Change, means: RelayMeans) -> BusEntry | PackedRow:
    """On the bus, which sends it on to the lake, or packed for the lake alone. The row is the same on both ways."""
    entry = _record_changed(change, means)
    if means.tells(change.kind):
        return entry
    return PackedRow(AUDIT.name, bytes(msgspec.json.decode(entry.detail, type=_Detail).data))


class _Detail(msgspec.Struct):
    data: msgspec.Raw


def _record_changed(change: Change, means: RelayMeans) -> BusEntry:
    """Both images together may be larger than the bus takes: then they rest in S3."""
    row = audit_row(change)
    entry = _entry(change, RECORD_CHANGED, signed(row, _text, means.key))
    if entry.size <= ENTRY_BYTES - ENTRY_MARGIN:
        return entry
    images = {name: row[name] for name in ("old_image", "new_image")}
    reference = means.objects.put(PAYLOADS, _text(images))
    row |= dict.fromkeys(images) | {"images_ref": reference}
    return _entry(change, RECORD_CHANGED, signed(row, _text, means.key))


def _stripe_event(change: Change, means: RelayMeans) -> PackedRow | None:
    if change.action is not ItemAction.INSERT:
        return None  # a fact's expiry changes nothing: the lake has it
    payload = _text(redaction.stripe_payload(json.loads(_raw_payload(change.item, means.objects), parse_float=Decimal)))
    place: dict[str, Any]
    if len(payload) <= ROW_PAYLOAD_BYTES:
        place = {"payload": msgspec.Raw(payload), "payload_ref": None}
    else:
        place = {"payload": None, "payload_ref": means.objects.put(PAYLOADS, payload)}
    return PackedRow(STRIPE_EVENTS.name, _text(rows.stripe_event_row(change.item) | place))


def _raw_payload(fact: Item, objects: Objects) -> bytes:
    """JSON; compressed in the fact, and compressed or not in a claim."""
    content: bytes = objects.get(fact["claim"]) if "claim" in fact else fact["payload"]
    return content if content[:1] == b"{" else unpack(content)


def _usage(change: Change, _means: RelayMeans) -> PackedRow | None:
    return PackedRow(USAGE.name, _text(rows.usage_row(change.item))) if change.action is ItemAction.INSERT else None


def _reject(change: Change, means: RelayMeans) -> BusEntry | PackedRow | None:
    if change.action is not ItemAction.INSERT:
        return None
    return _changed(replace(change, new=rows.reject_image(change.item)), means)


def _booked(change: Change, _means: RelayMeans) -> Iterator[PackedRow]:
    for table, row in book_rows(change):
        yield PackedRow(table, _text(row))


def _reported(change: Change, means: RelayMeans) -> Iterator[PackedRow]:
    if change.action is not ItemAction.INSERT or not has_book(change.item):
        return
    for table, row in snapshot_rows(change, msgspec.json.decode(_raw_payload(change.item, means.objects))):
        yield PackedRow(table, _text(row))


def _rejected(change: Change) -> Iterator[BusEntry]:
    if change.action is ItemAction.INSERT:
        data = rows.reject_announcement(change.item)
        yield _entry(change, f"{change.item['flow']}.rejected.v1", data, event_id=f"{change.change_id}:rejected")


def _locked_out(change: Change) -> Iterator[BusEntry]:
    if lock := locked_out(change.old, change.new):
        yield _entry(change, LOCKED_OUT, asdict(lock), event_id=lock.id, subject=lock.workspace_id)


def _told(
    changes_of: Callable[[Item | None, Item | None], Iterable[BillingChange]], change: Change
) -> Iterator[BusEntry]:
    for told in changes_of(change.old, change.new):
        data = {"workspace_id": told.workspace_id, "cause": told.cause, "before": told.before, "after": told.after}
        yield _entry(change, told.type, data, event_id=told.id, subject=told.workspace_id)


def _entry(
    change: Change,
    detail_type: str,
    data: Mapping[str, Any],
    *,
    event_id: str | None = None,
    subject: str | None = None,
) -> BusEntry:
    """A CloudEvent whose id is the change's: the same each time it is sent."""
    event = {
        "specversion": "1.0",
        "id": event_id or change.change_id,
        **({"subject": subject} if subject else {}),
        "source": CHANGES,
        "type": detail_type,
        "time": rfc3339(from_epoch(change.occurred_at)),
        "datacontenttype": "application/json",
        "data": exact.texts(data),
    }
    return BusEntry(source=CHANGES, detail_type=detail_type, detail=_text(event).decode())


_AUDITED = ChangeKind(output=_changed)
_PASSED_OVER = ChangeKind(output=lambda _change, _means: None)

KINDS: Mapping[tuple[Table, str], ChangeKind] = {
    (Table.EVENTS, "stripe_event"): ChangeKind(output=_stripe_event, books=_reported),
    (Table.EVENTS, "usage_event"): ChangeKind(output=_usage),
    (Table.EVENTS, "reject"): ChangeKind(output=_reject, announces=_rejected),
    (Table.RECORDS, "lockout"): ChangeKind(output=_changed, announces=_locked_out),
    (Table.RECORDS, REGISTER): ChangeKind(output=_changed, books=_booked),
    (Table.RECORDS, "billing"): ChangeKind(output=_changed, announces=lambda change: _told(billing_changes, change)),
    (Table.RECORDS, own_limits.KIND): ChangeKind(
        output=_changed, announces=lambda change: _told(own_limits_changes, change)
    ),
}

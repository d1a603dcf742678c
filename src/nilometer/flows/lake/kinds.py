"""What each kind of change becomes: a row of a table, or the change itself as an event; and what is announced with it.

A kind that is not named here is written to the audit when it is a record, and passed over when it is a fact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.eventbridge import ENTRY_BYTES, BusEntry
from nilometer.aws.s3 import Objects
from nilometer.domain.lake import redaction, rows
from nilometer.domain.lake.books import REGISTER, book_rows, has_book, snapshot_rows
from nilometer.domain.lake.change import Change, ItemAction, audit_row
from nilometer.domain.lake.tables import AUDIT, STRIPE_EVENTS, USAGE
from nilometer.domain.limits import own as own_limits
from nilometer.domain.notices import webhook
from nilometer.domain.store.compressed import unpack
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.inbox.envelope import RECORD_CHANGED
from nilometer.flows.lake.announcing import (
    ALERTS,
    BILLING,
    LOCKOUTS,
    NOTHING,
    OWN_LIMITS,
    REJECTS,
    WEBHOOKS,
    Announcer,
    bus_entry,
    text,
)
from nilometer.flows.lake.proof import signed

ROW_PAYLOAD_BYTES = 700_000  # a larger payload rests in S3 and the row carries the reference
ENTRY_MARGIN = 2_000  # for the bus' own count of source, detail type and time
PAYLOADS = "payloads"  # kept as long as the rows that refer to it: for ever

TOLD = frozenset({"workspace", "billing", "meter", "alert", "membership", "invitation", "notification"})
"""Kinds of records whose changes a rule of ours waits for on the bus."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A row for a packed message, as JSON."""

    table: str
    content: bytes


@dataclass(frozen=True, slots=True)
class RelayMeans:
    """What the relay of a change needs: where large parts are stored, and the key that proves who sent it.

    Without `tells_all` the bus gets the kinds in `TOLD` alone.
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
    announces: Announcer = NOTHING
    books: Callable[[Change, RelayMeans], Iterable[PackedRow]] = lambda _change, _means: ()
    """Rows of other tables than the audit."""


def kind_of(change: Change) -> ChangeKind:
    """The row that this change is treated by."""
    known = KINDS.get((change.table, change.kind))
    return known or (_AUDITED if change.table is Table.RECORDS else _PASSED_OVER)


def announced(change: Change) -> Iterable[BusEntry]:
    """What a change means to its workspace, as events of their own."""
    return kind_of(change).announces.entries(change)


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
    entry = bus_entry(change, RECORD_CHANGED, signed(row, text, means.key))
    if entry.size <= ENTRY_BYTES - ENTRY_MARGIN:
        return entry
    images = {name: row[name] for name in ("old_image", "new_image")}
    reference = means.objects.put(PAYLOADS, text(images))
    row |= dict.fromkeys(images) | {"images_ref": reference}
    return bus_entry(change, RECORD_CHANGED, signed(row, text, means.key))


def _stripe_event(change: Change, means: RelayMeans) -> PackedRow | None:
    if change.action is not ItemAction.INSERT:
        return None  # a fact's expiry changes nothing: the lake has it
    payload = text(redaction.stripe_payload(json.loads(raw_payload(change.item, means.objects), parse_float=Decimal)))
    place: dict[str, Any]
    if len(payload) <= ROW_PAYLOAD_BYTES:
        place = {"payload": msgspec.Raw(payload), "payload_ref": None}
    else:
        place = {"payload": None, "payload_ref": means.objects.put(PAYLOADS, payload)}
    return PackedRow(STRIPE_EVENTS.name, text(rows.stripe_event_row(change.item) | place))


def raw_payload(fact: Item, objects: Objects) -> bytes:
    """The whole JSON of a Stripe event: compressed in the fact, compressed or not in a claim."""
    content: bytes = objects.get(fact["claim"]) if "claim" in fact else fact["payload"]
    return content if content[:1] == b"{" else unpack(content)


def _usage(change: Change, _means: RelayMeans) -> PackedRow | None:
    return PackedRow(USAGE.name, text(rows.usage_row(change.item))) if change.action is ItemAction.INSERT else None


def _reject(change: Change, means: RelayMeans) -> BusEntry | PackedRow | None:
    if change.action is not ItemAction.INSERT:
        return None
    return _changed(replace(change, new=rows.reject_image(change.item)), means)


def _booked(change: Change, _means: RelayMeans) -> Iterator[PackedRow]:
    for table, row in book_rows(change):
        yield PackedRow(table, text(row))


def _reported(change: Change, means: RelayMeans) -> Iterator[PackedRow]:
    if change.action is not ItemAction.INSERT or not has_book(change.item):
        return
    for table, row in snapshot_rows(change, msgspec.json.decode(raw_payload(change.item, means.objects))):
        yield PackedRow(table, text(row))


_AUDITED = ChangeKind(output=_changed)
_PASSED_OVER = ChangeKind(output=lambda _change, _means: None)

KINDS: Mapping[tuple[Table, str], ChangeKind] = {
    (Table.EVENTS, "stripe_event"): ChangeKind(output=_stripe_event, books=_reported),
    (Table.EVENTS, "usage_event"): ChangeKind(output=_usage),
    (Table.EVENTS, "reject"): ChangeKind(output=_reject, announces=REJECTS),
    (Table.RECORDS, "alert"): ChangeKind(output=_changed, announces=ALERTS),
    (Table.RECORDS, "lockout"): ChangeKind(output=_changed, announces=LOCKOUTS),
    (Table.RECORDS, REGISTER): ChangeKind(output=_changed, books=_booked),
    (Table.RECORDS, "billing"): ChangeKind(output=_changed, announces=BILLING),
    (Table.RECORDS, own_limits.KIND): ChangeKind(output=_changed, announces=OWN_LIMITS),
    (Table.RECORDS, webhook.KIND): ChangeKind(output=_changed, announces=WEBHOOKS),
}

ANNOUNCED = frozenset({RECORD_CHANGED}).union(*(kind.announces.types for kind in KINDS.values()))
"""Every type of the events that the relay puts on the bus."""

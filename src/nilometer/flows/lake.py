"""Lake: a batch of packed rows and audit changes into the Delta tables, exactly once.

What if the process dies here, the answer of a commit is lost, or the same rows come again in another batch?
`lake.append` finds what has landed. A message is done when each of its rows is in its table or kept as a reject.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.outcome import Message, Outcome, Result
from nilometer.domain.tables import AUDIT, TABLES, DeltaTable
from nilometer.errors import Rejected, Unavailable
from nilometer.lake.append import Appended, Lake
from nilometer.lake.rows import (
    Columns,
    count,
    decode,
    decode_packed,
    empty,
    encode,
    joined,
    keys,
    split,
    take,
    to_arrow,
)

REJECTS = "rejects/lake"
LOGGED = 100_000  # characters of event ids in one line
AUDIT_TYPE = "record.changed.v1"


class Body(msgspec.Struct):
    """`{"table", "rows"}` packed by the changes flow, or the CloudEvent of one change, also in the bus's envelope."""

    table: str | None = None
    rows: msgspec.Raw = msgspec.Raw(b"null")
    type: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    detail: Body | None = None


@dataclass(frozen=True, slots=True)
class _Append:
    """`lake.append` with everything but the table and the rows."""

    lake: Lake
    now: datetime
    deadline: float
    monotonic: Callable[[], float]

    def __call__(self, table: DeltaTable, rows: Columns) -> Appended:
        return self.lake.append(table, rows, recorded_at=self.now, deadline=self.deadline, monotonic=self.monotonic)


@dataclass(slots=True)
class _Parcel:
    """One message on its way: where its good rows go, and how many could not be read."""

    message: Message
    table: DeltaTable | None = None
    rows: Columns | None = None
    rejected: int = 0
    new: int = 0
    failure: str = ""

    @property
    def size(self) -> int:
        return count(self.rows) if self.rows else 0


def append(
    messages: Sequence[Message],
    *,
    lake: Lake,
    objects: Objects,
    now: datetime,
    deadline: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[Result]:
    """One commit per table (and 31 days) for the whole batch; one result a message, in order.

    A table that cannot be written in time fails its own messages only. `deadline` is on the `monotonic` clock.
    """
    parcels = [_open(message, objects) for message in messages]
    for table in TABLES.values():
        waiting = [parcel for parcel in parcels if parcel.table is table and parcel.size and not parcel.failure]
        if waiting:
            _land(table, waiting, objects, _Append(lake, now, deadline, monotonic))
    return [_result(parcel) for parcel in parcels]


def _open(message: Message, objects: Objects) -> _Parcel:
    parcel = _Parcel(message)
    try:
        _read(parcel, objects)
    except Unavailable as error:
        parcel.failure = str(error)
    return parcel


def _read(parcel: _Parcel, objects: Objects) -> None:
    """Fills table and rows; what cannot be read is kept with its reason."""
    body = parcel.message.body
    if body.startswith('{"table":'):
        with contextlib.suppress(Rejected):  # why, the slower way finds out
            parcel.table, parcel.rows = decode_packed(body)
            return
    try:
        parcel.table, rows = _table_and_rows(body)
    except Rejected as error:
        _reject(parcel, objects, error, body.encode())
        return
    try:
        parcel.rows = decode(parcel.table, rows)
    except Rejected:
        parcel.rows = _good_ones(parcel, parcel.table, rows, objects)


def _table_and_rows(body: str) -> tuple[DeltaTable, bytes]:
    try:
        parsed = msgspec.json.decode(body, type=Body)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Rejected("invalid_json", f"the message is no packed rows and no change: {error}") from error
    # What the bus could not deliver may come back whole, without the rule's InputPath.
    parsed = parsed.detail or parsed
    if parsed.type == AUDIT_TYPE:
        return AUDIT, b"[" + bytes(parsed.data) + b"]"
    if parsed.table not in TABLES:
        raise Rejected("unknown_table", f"there is no table {parsed.table!r}; one of {', '.join(TABLES)}")
    return TABLES[parsed.table], bytes(parsed.rows)


def _good_ones(parcel: _Parcel, table: DeltaTable, rows: bytes, objects: Objects) -> Columns:
    good: list[Columns] = []
    try:
        candidates = split(rows)
    except Rejected as error:
        _reject(parcel, objects, error, rows)
        return empty(table)
    for candidate in candidates:
        try:
            good.append(decode(table, b"[" + bytes(candidate) + b"]"))
        except Rejected as error:
            _reject(parcel, objects, error, bytes(candidate))
    return joined(table, good)


def _reject(parcel: _Parcel, objects: Objects, error: Rejected, content: bytes) -> None:
    """The same row is the same object, so a repeated batch keeps it once."""
    kept = {
        "reason": error.reason,
        "message": str(error),
        "table": parcel.table.name if parcel.table else None,
        "content": content.decode(errors="replace"),
    }
    objects.put(REJECTS, msgspec.json.encode(kept))
    parcel.rejected += 1


def _land(table: DeltaTable, parcels: list[_Parcel], objects: Objects, append_rows: _Append) -> None:
    try:
        appended = _append_good(table, parcels, objects, append_rows)
    except Unavailable as error:
        for parcel in parcels:
            parcel.failure = str(error)
        return
    _count_new(table, parcels, appended.new)


def _append_good(table: DeltaTable, parcels: list[_Parcel], objects: Objects, append_rows: _Append) -> Appended:
    """All rows at once; when Arrow cannot take one of them (February 30th), each is tried alone first."""
    try:
        return append_rows(table, _together(table, parcels))
    except Rejected:
        for parcel in parcels:
            parcel.rows = _storable_ones(parcel, table, objects, append_rows.now)
    return append_rows(table, _together(table, parcels))


def _together(table: DeltaTable, parcels: list[_Parcel]) -> Columns:
    return joined(table, (parcel.rows for parcel in parcels if parcel.rows))


def _storable_ones(parcel: _Parcel, table: DeltaTable, objects: Objects, now: datetime) -> Columns:
    rows = parcel.rows or empty(table)
    good = []
    for position in range(count(rows)):
        row = take(rows, [position])
        try:
            to_arrow(table, row, recorded_at=now)
            good.append(position)
        except Rejected as error:
            _reject(parcel, objects, error, encode(row))
    return take(rows, good)


def _count_new(table: DeltaTable, parcels: list[_Parcel], new: frozenset[Any]) -> None:
    """A key that came in two messages is new in the first and a duplicate in the second."""
    if len(new) == sum(parcel.size for parcel in parcels):
        for parcel in parcels:
            parcel.new = parcel.size
        return
    left = set(new)
    for parcel in parcels:
        mine = left.intersection(keys(table, parcel.rows or empty(table)))
        parcel.new = len(mine)
        left -= mine


def _result(parcel: _Parcel) -> Result:
    if parcel.failure:
        fields: dict[str, str | int] = {"reason": parcel.failure}
    else:
        fields = {"rows": parcel.size, "new": parcel.new, "rejected": parcel.rejected}
    if parcel.table:
        fields["table"] = parcel.table.name
    if parcel.size:
        fields["event_ids"] = _event_ids(parcel)
    return Result(message_id=parcel.message.id, outcome=_outcome(parcel), fields=fields)


def _event_ids(parcel: _Parcel) -> str:
    """Of the rows, or of what caused the changes, so that a search for an event finds its way to the lake."""
    rows = parcel.rows or {}
    return " ".join(filter(None, rows.get("event_id", rows.get("cause", ()))))[:LOGGED]


def _outcome(parcel: _Parcel) -> Outcome:
    if parcel.failure:
        return Outcome.FAILED
    if parcel.rejected:
        return Outcome.REJECTED
    return Outcome.ACCEPTED if parcel.new else Outcome.DUPLICATE

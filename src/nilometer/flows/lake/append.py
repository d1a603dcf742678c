"""Lake: a batch of packed rows and audit changes into the Delta tables, exactly once.

What if the process dies here, the answer of a commit is lost, or the same rows come again in another batch?
`lake.append` finds what has landed. A message is done when each of its rows is in its table or kept as a reject.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.lake.tables import AUDIT, TABLES, DeltaTable
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.lake.packed import unpack
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import Rows, decode, decode_packed, joined

REJECTS = "rejects/lake"
LOGGED = 100_000  # characters of event ids in one line
AUDIT_TYPE = "record.changed.v1"


class Body(msgspec.Struct):
    """Rows, packed as columns or not, or the CloudEvent of one change, also in the bus's envelope."""

    table: str | None = None
    columns: msgspec.Raw = msgspec.Raw()
    rows: msgspec.Raw = msgspec.Raw(b"null")
    type: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    detail: Body | None = None


@dataclass(slots=True, eq=False)
class _Parcel:
    """One message on its way: what came packed is ready, single rows wait to be decoded with those of others."""

    message: Message
    table: DeltaTable | None = None
    ready: Rows | None = None
    waiting: Sequence[bytes] = ()
    event_ids: list[str | None] = field(default_factory=list)  # one a good row
    rejected: int = 0
    new: int = 0
    failure: str = ""


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
        parts = _read(table, [parcel for parcel in parcels if parcel.table is table], objects)
        if not parts:
            continue
        rows, owners = joined([rows for rows, _ in parts]), list(chain.from_iterable(owners for _, owners in parts))
        try:
            appended = lake.append(table, rows, recorded_at=now, deadline=deadline, monotonic=monotonic)
            _count_new(owners, appended.new)
        except Unavailable as error:
            for parcel in owners:
                parcel.failure = str(error)
    return [_result(parcel) for parcel in parcels]


def _open(message: Message, objects: Objects) -> _Parcel:
    """What can be told without reading the rows one by one; a body that is nothing is kept."""
    parcel = _Parcel(message)
    if message.body.startswith('{"table":'):
        with contextlib.suppress(Rejected):  # why, the slower way finds out
            parcel.table, parcel.ready = decode_packed(message.body)
            return parcel
    try:
        parcel.table, parcel.waiting = _table_and_rows(message.body)
    except Rejected as error:
        _reject(parcel, message.body.encode(errors="replace"), error, objects)
    return parcel


def _table_and_rows(body: str) -> tuple[DeltaTable, Sequence[bytes]]:
    try:
        parsed = msgspec.json.decode(body, type=Body)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Rejected("invalid_json", f"the message is no rows and no change: {error}") from error
    # What the bus could not deliver may come back whole, without the rule's InputPath.
    parsed = parsed.detail or parsed
    if parsed.type == AUDIT_TYPE:
        return AUDIT, [bytes(parsed.data)]
    if parsed.table not in TABLES:
        raise Rejected("unknown_table", f"there is no table {parsed.table!r}; one of {', '.join(TABLES)}")
    if bytes(parsed.columns):
        return TABLES[parsed.table], unpack(parsed.columns)
    try:
        return TABLES[parsed.table], list(map(bytes, msgspec.json.decode(parsed.rows, type=list[msgspec.Raw])))
    except msgspec.DecodeError as error:
        raise Rejected("invalid_json", f"rows are no array: {error}") from error


def _read(table: DeltaTable, parcels: Sequence[_Parcel], objects: Objects) -> list[tuple[Rows, list[_Parcel]]]:
    """Rows, and of which message each is."""
    waiting = [(parcel, content) for parcel in parcels for content in parcel.waiting]
    parts = []
    for parcel in parcels:
        if parcel.ready:
            parcel.event_ids = parcel.ready.event_ids
            parts.append((parcel.ready, [parcel] * len(parcel.ready)))
    for rows, owners in _decoded(table, waiting, objects) if waiting else ():
        for parcel, event_id in zip(owners, rows.event_ids, strict=True):
            parcel.event_ids.append(event_id)
        parts.append((rows, owners))
    return parts


def _decoded(
    table: DeltaTable, waiting: Sequence[tuple[_Parcel, bytes]], objects: Objects
) -> Iterator[tuple[Rows, list[_Parcel]]]:
    """All at once, for a change comes alone in its message; in halves until what is bad stands alone and is kept."""
    try:
        yield decode(table, b"[" + b",".join(content for _, content in waiting) + b"]"), [one for one, _ in waiting]
    except Rejected as error:
        middle = len(waiting) // 2
        if middle:
            yield from _decoded(table, waiting[:middle], objects)
            yield from _decoded(table, waiting[middle:], objects)
        else:
            _reject(*waiting[0], error, objects)


def _reject(parcel: _Parcel, content: bytes, error: Rejected, objects: Objects) -> None:
    """The same row is the same object, so a repeated batch keeps it once. What cannot be kept comes again."""
    kept = {
        "reason": error.reason,
        "message": str(error),
        "table": parcel.table.name if parcel.table else None,
        "content": content.decode(errors="replace"),
    }
    try:
        objects.put(REJECTS, msgspec.json.encode(kept))
    except Unavailable as unavailable:
        parcel.failure = str(unavailable)
    parcel.rejected += 1


def _count_new(owners: list[_Parcel], new: Sequence[int]) -> None:
    """A row that came in two messages is new in the first and a duplicate in the second."""
    for parcel, count in Counter(map(owners.__getitem__, new)).items():
        parcel.new = count


def _result(parcel: _Parcel) -> Result:
    if parcel.failure:
        fields: dict[str, str | int] = {"reason": parcel.failure}
    else:
        fields = {"rows": len(parcel.event_ids), "new": parcel.new, "rejected": parcel.rejected}
    if parcel.table:
        fields["table"] = parcel.table.name
    if parcel.event_ids:
        fields["event_ids"] = " ".join(filter(None, parcel.event_ids))[:LOGGED]
    return Result(message_id=parcel.message.id, outcome=_outcome(parcel), fields=fields)


def _outcome(parcel: _Parcel) -> Outcome:
    if parcel.failure:
        return Outcome.FAILED
    if parcel.rejected:
        return Outcome.REJECTED
    return Outcome.ACCEPTED if parcel.new else Outcome.DUPLICATE

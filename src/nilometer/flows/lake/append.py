"""Lake: a batch of packed rows and audit changes into the Delta tables, exactly once.

What if the process dies here, the answer of a commit is lost, or the same rows come again in another batch?
`Lake.append` finds what has landed. A message is done when each of its rows is in its table or kept as a reject.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import chain

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject, reject_file
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.tables import AUDIT, DeltaTable
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import check_depth
from nilometer.flows.inbox.parcel import Identity, Parcel
from nilometer.flows.inbox.settle import Inbox, settle
from nilometer.flows.lake.packed import unpack
from nilometer.flows.lake.proof import AuditProofs
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import PackedColumns, TableRows, decode, joined, packed_columns

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


class _OwnedRow(msgspec.Struct):
    """What of a row says whose it is."""

    event_id: str | None = None
    cause: str | None = None
    source: str | None = None
    workspace_id: str | None = None


@dataclass(slots=True, eq=False)
class Arriving:
    """What a message brings: what came packed is ready, single rows wait to be decoded with those of others."""

    table: DeltaTable
    ready: TableRows | None = None
    packed: PackedColumns | None = None  # what is ready, as it came
    waiting: Sequence[bytes] = ()
    event_ids: list[str | None] = field(default_factory=list)  # one a good row
    new: int = 0


def append(
    messages: Sequence[Message],
    *,
    lake: Lake,
    objects: Objects,
    keys: AuditKeys,
    now: datetime,
    deadline: float,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[Result]:
    """One commit per table (and 31 days) for the whole batch; one result a message, in order.

    A table that cannot be written in time fails its own messages only. A row of `audit` that does not prove its origin
    by one of `keys` is a reject. `deadline` is on the `monotonic` clock.
    """
    proofs = AuditProofs(keys=keys, since=cache(lambda: lake.added_at(AUDIT, "proof")), now=now)

    def decide(parcels: Sequence[Parcel[Arriving]]) -> None:
        table = parcels[0].content.table
        if parts := _read(table, parcels, proofs):
            rows, owners = joined([rows for rows, _ in parts]), list(chain.from_iterable(owners for _, owners in parts))
            appended = lake.append(table, rows, recorded_at=now, deadline=deadline, monotonic=monotonic)
            _count_new(owners, appended.new)
        for parcel in parcels:
            _settle(parcel)

    into = Inbox(flow="lake", now=now, keep=lambda rejects: _keep(rejects, objects))
    return settle(messages, into, open=_open, decide=decide, group=lambda parcel: parcel.content.table.name)


def _open(message: Message) -> Arriving:
    """Checks that need not read the rows one by one."""
    if message.body.startswith('{"table":'):
        with contextlib.suppress(Rejected, RecursionError):  # why, the slower way finds out
            packed = packed_columns(message.body)
            return Arriving(packed.table, packed.rows(), packed=packed)
    table, waiting = _table_and_rows(message.body)
    return Arriving(table, waiting=waiting)


def _table_and_rows(body: str) -> tuple[DeltaTable, Sequence[bytes]]:
    check_depth(body.encode(errors="replace"))
    try:
        parsed = msgspec.json.decode(body, type=Body)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise Rejected("invalid_json", f"the message is no rows and no change: {error}") from error
    # What the bus could not deliver may come back whole, without the rule's InputPath.
    parsed = parsed.detail or parsed
    if parsed.type == AUDIT_TYPE:
        return AUDIT, [bytes(parsed.data)]
    if parsed.table not in ALL_TABLES:
        raise Rejected("unknown_table", f"there is no table {parsed.table!r}; one of {', '.join(ALL_TABLES)}")
    if bytes(parsed.columns):
        return ALL_TABLES[parsed.table], unpack(parsed.columns)
    try:
        return ALL_TABLES[parsed.table], list(map(bytes, msgspec.json.decode(parsed.rows, type=list[msgspec.Raw])))
    except msgspec.DecodeError as error:
        raise Rejected("invalid_json", f"rows are no array: {error}") from error


def _read(
    table: DeltaTable, parcels: Sequence[Parcel[Arriving]], proofs: AuditProofs
) -> list[tuple[TableRows, list[Parcel[Arriving]]]]:
    """Rows, and of which message each is."""
    parts = []
    for parcel in parcels:
        parcel.content.event_ids = []
        if ready := _ready(parcel, proofs):
            parcel.content.event_ids = list(ready.event_ids)
            parts.append((ready, [parcel] * len(ready)))
    waiting = [(parcel, content) for parcel in parcels for content in parcel.content.waiting]
    if table is AUDIT:
        waiting = [one for one in waiting if _is_proven(*one, proofs)]
    for rows, owners in _decoded(table, waiting) if waiting else ():
        for parcel, event_id in zip(owners, rows.event_ids, strict=True):
            parcel.content.event_ids.append(event_id)
        parts.append((rows, owners))
    return parts


def _ready(parcel: Parcel[Arriving], proofs: AuditProofs) -> TableRows | None:
    """Packed rows; of the audit when all of them are proven, else they are looked at one by one."""
    arriving = parcel.content
    if arriving.table is AUDIT and arriving.packed and not proofs.hold(arriving.packed):
        arriving.ready = arriving.packed = None
        _, arriving.waiting = _table_and_rows(parcel.message.body)
    return arriving.ready


def _is_proven(parcel: Parcel[Arriving], content: bytes, proofs: AuditProofs) -> bool:
    """A refused row does not affect the other rows."""
    try:
        proofs.check(content)
    except (Rejected, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        known = error if isinstance(error, Rejected) else Rejected("invalid_row", "the row cannot be read")
        parcel.refused.append((known, _message_of(AUDIT, content), _identity(content)))
        return False
    return True


def _decoded(
    table: DeltaTable, waiting: Sequence[tuple[Parcel[Arriving], bytes]]
) -> Iterator[tuple[TableRows, list[Parcel[Arriving]]]]:
    """All at once, for a change comes alone in its message; in halves until what is bad stands alone."""
    try:
        yield decode(table, b"[" + b",".join(content for _, content in waiting) + b"]"), [one for one, _ in waiting]
    except Rejected as error:
        middle = len(waiting) // 2
        if middle:
            yield from _decoded(table, waiting[:middle])
            yield from _decoded(table, waiting[middle:])
        else:
            [(parcel, content)] = waiting
            parcel.refused.append((error, _message_of(table, content), _identity(content)))


def _message_of(table: DeltaTable, content: bytes) -> str:
    """One row as a message that the lake's queue takes, so that it can be sent again."""
    return f'{{"table":"{table.name}","rows":[{content.decode(errors="replace")}]}}'


def _identity(content: bytes) -> Identity:
    try:
        row = msgspec.json.decode(content, type=_OwnedRow)
    except (msgspec.MsgspecError, RecursionError):
        return Identity()
    return Identity(event_id=row.event_id or row.cause, source=row.source, workspace_id=row.workspace_id)


def _keep(rejects: Iterable[Reject], objects: Objects) -> None:
    """The same row is the same object, so a repeated batch keeps it once."""
    for reject in rejects:
        objects.put(REJECTS, msgspec.json.encode(reject_file(reject)))


def _count_new(owners: list[Parcel[Arriving]], new: Sequence[int]) -> None:
    """A row that came in two messages is new in the first and a duplicate in the second."""
    for parcel, count in Counter(map(owners.__getitem__, new)).items():
        parcel.content.new = count


def _settle(parcel: Parcel[Arriving]) -> None:
    arriving, rejected = parcel.content, len(parcel.refused)
    parcel.fields |= {"rows": len(arriving.event_ids), "new": arriving.new, "rejected": rejected}
    parcel.fields["table"] = arriving.table.name
    if arriving.event_ids:
        parcel.fields["event_ids"] = " ".join(filter(None, arriving.event_ids))[:LOGGED]
    if rejected:
        parcel.settle(Outcome.REJECTED)
    else:
        parcel.settle(Outcome.ACCEPTED if arriving.new else Outcome.DUPLICATE)

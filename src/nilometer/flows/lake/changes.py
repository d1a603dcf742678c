"""Changes: the streams of both tables, redacted, to the lake's queues and to the bus.

Facts travel packed, many rows a message; changes of records travel one by one, so that any service can subscribe.
`flows.lake.kinds` says what each kind becomes.

What if the process dies in the middle, or an answer is lost? The batch comes again, and every row and event carries
an id that is the same each time: the lake drops what it has, subscribers can. What if a record cannot be converted,
becomes more than a queue or the bus takes, or a queue refuses its text? It is kept in S3 and passed over: one bad
record must not stop all that come after it in its shard. What no rule foresaw waits first, for another version of ours
may read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from nilometer.aws.eventbridge import ENTRY_BYTES, Bus, BusEntry
from nilometer.aws.s3 import Objects
from nilometer.aws.secrets import AuditKeys
from nilometer.aws.sqs import Queue
from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.lake.tables import STRIPE_EVENTS
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.inbox.parcel import safe_text
from nilometer.flows.inbox.records import StreamRecord, blamed, record_id
from nilometer.flows.inbox.settle import isolate, worlds_fault
from nilometer.flows.lake.kinds import PackedRow, RelayMeans, kind_of
from nilometer.flows.lake.packed import BODY_BYTES, pack
from nilometer.flows.lake.stream import change_of

REJECTS = "rejects/changes"


@dataclass(frozen=True, slots=True)
class Relayed:
    """One stream record and what is sent of it."""

    record_id: str
    fields: Mapping[str, str | int]
    rows: tuple[PackedRow, ...]
    events: tuple[BusEntry, ...]

    @property
    def result(self) -> Result:
        """Accepted when anything is sent of it, else ignored."""
        outcome = Outcome.ACCEPTED if self.rows or self.events else Outcome.IGNORED
        return Result(message_id=self.record_id, outcome=outcome, fields=self.fields)


def relay(
    records: Sequence[StreamRecord],
    *,
    bus: Bus,
    queues: Mapping[str, Queue],
    objects: Objects,
    keys: AuditKeys,
    now: datetime,
    tells_all: bool = True,
) -> list[Result]:
    """One result a record, in order; `message_id` is its sequence number. `queues` by table of the lake.

    Without `tells_all` changes that no rule of ours waits for go to the lake without the bus.
    A FAILED one and all after it in its shard are delivered again. Sends rows before events, each at least once.
    `Misconfigured` or `Unavailable` without a key to sign with.
    """
    means = RelayMeans(objects, keys.current()[0], tells_all)
    opened = [_open(record, means, now) for record in records]
    relayed = [one for one in opened if isinstance(one, Relayed)]
    errors: dict[str, Exception] = {}
    for name, error in (*_send_rows(relayed, queues), *_publish(relayed, bus)):
        if name not in errors or worlds_fault(error):  # what may pass another time comes again as a whole
            errors[name] = error

    def result(record: StreamRecord, one: Relayed | Result) -> Result:
        if isinstance(one, Result):
            return one
        if error := errors.get(one.record_id):
            unsent = _blame(record, error, objects, now)
            return replace(unsent, fields={**one.fields, **unsent.fields})
        return one.result

    return list(map(result, records, opened))


def _open(record: StreamRecord, means: RelayMeans, now: datetime) -> Relayed | Result:
    """Whatever is wrong with one record, its neighbours go on."""
    try:
        return _bounded(_relayed(record, means))
    except Exception as error:  # noqa: BLE001  # a record that cannot be read must not block its shard for ever
        return _blame(record, error, means.objects, now)


def _blame(record: StreamRecord, error: Exception, objects: Objects, now: datetime) -> Result:
    """FAILED while another delivery may pass, else kept."""
    if blamed(record, error, now=now) is Outcome.FAILED:
        return _failed(record_id(record), safe_text(error))
    return _keep(record, error, objects)


def _relayed(record: StreamRecord, means: RelayMeans) -> Relayed:
    change = change_of(record)
    kind = kind_of(change)
    fields: dict[str, str | int] = {"kind": change.kind, "action": change.action.value, "change_id": change.change_id}
    if change.event_id:
        fields["event_id"] = change.event_id
    output = kind.output(change, means)
    events = (*((output,) if isinstance(output, BusEntry) else ()), *kind.announces.entries(change))
    rows = (*((output,) if isinstance(output, PackedRow) else ()), *kind.books(change, means))
    return Relayed(record_id(record), fields, rows, events)


def _bounded(one: Relayed) -> Relayed:
    """A change that is too large for a message would be refused each time, together with its neighbours."""
    if any(len(row.content) > BODY_BYTES for row in one.rows) or any(event.size > ENTRY_BYTES for event in one.events):
        raise Rejected("too_large", "the change is larger than a message may be; see docs/runbook.md#rejects")
    return one


def _keep(record: StreamRecord, error: Exception, objects: Objects) -> Result:
    reason = error.reason if isinstance(error, Rejected) else type(error).__name__
    try:
        kept = objects.put(REJECTS, msgspec.json.encode({"reason": reason, "record": record}, order="deterministic"))
    except Unavailable as unavailable:
        return _failed(record_id(record), str(unavailable))
    return Result(message_id=record_id(record), outcome=Outcome.REJECTED, fields={"reason": reason, "kept": kept})


def _send_rows(relayed: Sequence[Relayed], queues: Mapping[str, Queue]) -> Iterator[tuple[str, Exception]]:
    """The records whose rows no queue took, and why."""
    rows = [(row.table, one.record_id, row.content) for one in relayed for row in one.rows]
    for table in dict.fromkeys(table for table, *_ in rows):
        mine = [(record_id, content) for name, record_id, content in rows if name == table]
        queue = queues.get(table) or queues[STRIPE_EVENTS.name]  # the books travel with what most of them come from
        yield from _send_table(table, mine, queue)


def _send_table(table: str, mine: Sequence[tuple[str, bytes]], queue: Queue) -> list[tuple[str, Exception]]:
    """Packed together; when the queue refuses a message for good, in halves until one row stands alone."""
    unsent: list[tuple[str, Exception]] = []

    def note(row: tuple[str, bytes], error: Exception) -> None:
        unsent.append((row[0], error))

    def send(some: Sequence[tuple[str, bytes]]) -> None:
        queue.send(list(pack(table, [content for _, content in some])))

    isolate(mine, send, settled=lambda _row: False, fail=note, blame=note)
    return unsent


def _publish(relayed: Sequence[Relayed], bus: Bus) -> Iterator[tuple[str, Exception]]:
    """The records whose events the bus did not take, and why."""
    events = [(one.record_id, event) for one in relayed for event in one.events]
    try:
        bus.publish([event for _, event in events])
    except Unavailable as error:
        yield from ((record_id, error) for record_id in dict(events))


def _failed(record_id: str, reason: str) -> Result:
    return Result(message_id=record_id, outcome=Outcome.FAILED, fields={"reason": reason})

"""Changes: the streams of both tables, redacted, to the lake's queues and to the bus.

Facts travel packed, many rows a message; changes of records travel one by one, so that any service can subscribe.

What if the process dies in the middle, or an answer is lost? The batch comes again, and every row and event carries
an id that is the same each time: the lake drops what it has, subscribers can. What if a record cannot be converted?
It is kept in S3 and passed over: one bad record must not stop all that come after it in its shard.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from nilometer.aws.eventbridge import ENTRY_BYTES, Bus, Entry
from nilometer.aws.items import unmarshal
from nilometer.aws.s3 import Objects
from nilometer.aws.sqs import Queue
from nilometer.domain.access.lockout import LOCKED_OUT, locked_out
from nilometer.domain.billing.record.changes import billing_changes, own_limits_changes
from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.lake import redaction, rows
from nilometer.domain.lake.change import Action, Change, action_of, audit_row, change_id, table_of
from nilometer.domain.lake.tables import STRIPE_EVENTS, USAGE
from nilometer.domain.limits import own as own_limits
from nilometer.domain.store.times import from_epoch, rfc3339
from nilometer.domain.store.writes import Key, Table
from nilometer.domain.stripe.payload import unpack
from nilometer.errors import NilometerError, Rejected, Unavailable
from nilometer.flows.lake.packed import pack

SOURCE = "nilometer.changes"
RECORD_CHANGED = "record.changed.v1"
ROW_PAYLOAD_BYTES = 700_000  # a larger payload rests in S3 and the row carries the reference
ENTRY_MARGIN = 2_000  # for the bus' own count of source, detail type and time
PAYLOADS = "payloads"  # kept as long as the rows that refer to it: for ever
REJECTS = "rejects/changes"

_CHANGES = {"billing": billing_changes, own_limits.KIND: own_limits_changes}

_json = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_text = _json.encode

StreamRecord = Mapping[str, Any]  # as Lambda hands it over: attribute values, binary in base64


@dataclass(frozen=True, slots=True)
class _Row:
    """A row for a packed message, as JSON."""

    table: str
    content: bytes


@dataclass(frozen=True, slots=True)
class _Converted:
    """One stream record and what it says: a row, an event, or nothing that anybody needs."""

    record_id: str
    fields: Mapping[str, str | int]
    output: _Row | Entry | None
    announced: tuple[Entry, ...] = ()


def relay(records: Sequence[StreamRecord], *, bus: Bus, queues: Mapping[str, Queue], objects: Objects) -> list[Result]:
    """One result a record, in order; `message_id` is its sequence number. `queues` by table of the lake.

    A FAILED one and all after it in its shard are delivered again. Sends rows before events, each at least once.
    """
    results: dict[str, Result] = {}
    converted: list[_Converted] = []
    for record in records:
        one = _try_convert(record, objects)
        results[_record_id(record)] = one if isinstance(one, Result) else _accepted(one)
        converted += [one] if isinstance(one, _Converted) else []
    for failed in (*_send_rows(converted, queues), *_publish(converted, bus)):
        known = results[failed.message_id].fields
        results[failed.message_id] = replace(failed, fields={**known, **failed.fields})
    return list(results.values())


def _try_convert(record: StreamRecord, objects: Objects) -> _Converted | Result:
    """Whatever is wrong with one record, its neighbours go on."""
    try:
        return _convert(record, objects)
    except Unavailable as error:
        return _failed(_record_id(record), error)
    except Exception as error:  # noqa: BLE001  # a record that cannot be read must not block its shard
        return _keep(record, error, objects)


def _keep(record: StreamRecord, error: Exception, objects: Objects) -> Result:
    record_id = _record_id(record)
    reason = error.reason if isinstance(error, Rejected) else type(error).__name__
    try:
        kept = objects.put(REJECTS, _text({"reason": reason, "record": record}))
    except Unavailable as unavailable:
        return _failed(record_id, unavailable)
    return Result(message_id=record_id, outcome=Outcome.REJECTED, fields={"reason": reason, "kept": kept})


def _convert(record: StreamRecord, objects: Objects) -> _Converted:
    change = _change(record)
    fields: dict[str, str | int] = {"kind": change.kind, "action": change.action.value, "change_id": change.change_id}
    if change.event_id:
        fields["event_id"] = change.event_id
    return _Converted(_record_id(record), fields, _output(change, objects), tuple(announced(change)))


def _output(change: Change, objects: Objects) -> _Row | Entry | None:
    if change.table is Table.RECORDS:
        return _record_changed(change, objects)
    if change.action is not Action.INSERT:
        return None  # a fact's expiry changes nothing: the lake has it
    match change.kind:
        case "stripe_event":
            return _Row(STRIPE_EVENTS.name, _stripe_event(change.item, objects))
        case "usage_event":
            return _Row(USAGE.name, _text(rows.usage_row(change.item)))
        case "reject":
            return _record_changed(replace(change, new=rows.reject_image(change.item)), objects)
    return None


def announced(change: Change) -> Iterator[Entry]:
    """What a change of a billing record, of own limits or a lock-out means to its workspace; and what was refused."""
    if change.kind == "reject" and change.action is Action.INSERT:
        data = rows.reject_announcement(change.item)
        yield _entry(change, f"{change.item['flow']}.rejected.v1", data, event_id=f"{change.change_id}:rejected")
    if change.kind == "lockout" and (lock := locked_out(change.old, change.new)):
        yield _entry(change, LOCKED_OUT, asdict(lock), event_id=lock.id, subject=lock.workspace_id)
    if changes_of := _CHANGES.get(change.kind):
        for told in changes_of(change.old, change.new):
            data = {"workspace_id": told.workspace_id, "cause": told.cause, "before": told.before, "after": told.after}
            yield _entry(change, told.type, data, event_id=told.id, subject=told.workspace_id)


def _change(record: StreamRecord) -> Change:
    stream = record["dynamodb"]
    images = {name: _item(stream[name]) for name in ("OldImage", "NewImage") if name in stream}
    keys = _item(stream["Keys"])
    return Change(
        change_id=change_id(record["eventSourceARN"], stream["SequenceNumber"]),
        table=table_of(stream["StreamViewType"]),
        action=action_of(record["eventName"], record.get("userIdentity")),
        key=Key(keys["pk"], keys["sk"]),
        old=images.get("OldImage"),
        new=images.get("NewImage"),
        sequence_number=stream["SequenceNumber"],
        occurred_at=int(stream["ApproximateCreationDateTime"]),
    )


def _item(image: Mapping[str, Any]) -> dict[str, Any]:
    return unmarshal({name: _binary(value) for name, value in image.items()})


def _binary(attribute: dict[str, Any]) -> dict[str, Any]:
    """Binary arrives as base64 text, at any depth."""
    [(tag, value)] = attribute.items()
    match tag:
        case "B" if isinstance(value, str):
            return {"B": base64.b64decode(value, validate=True)}
        case "M":
            return {"M": {name: _binary(inner) for name, inner in value.items()}}
        case "L":
            return {"L": [_binary(inner) for inner in value]}
    return attribute


def _stripe_event(fact: Mapping[str, Any], objects: Objects) -> bytes:
    payload = _text(redaction.stripe_payload(json.loads(_raw_payload(fact, objects), parse_float=Decimal)))
    place: dict[str, Any]
    if len(payload) <= ROW_PAYLOAD_BYTES:
        place = {"payload": msgspec.Raw(payload), "payload_ref": None}
    else:
        place = {"payload": None, "payload_ref": objects.put(PAYLOADS, payload)}
    return _text(rows.stripe_event_row(fact) | place)


def _raw_payload(fact: Mapping[str, Any], objects: Objects) -> bytes:
    """JSON; compressed in the fact, and compressed or not in a claim."""
    content: bytes = objects.get(fact["claim"]) if "claim" in fact else fact["payload"]
    return content if content[:1] == b"{" else unpack(content)


def _record_changed(change: Change, objects: Objects) -> Entry:
    """Both images together may be larger than the bus takes: then they rest in S3."""
    row = audit_row(change)
    entry = _entry(change, RECORD_CHANGED, row)
    if entry.size <= ENTRY_BYTES - ENTRY_MARGIN:
        return entry
    images = {name: row[name] for name in ("old_image", "new_image")}
    reference = objects.put(PAYLOADS, _text(images))
    return _entry(change, RECORD_CHANGED, row | dict.fromkeys(images) | {"images_ref": reference})


def _entry(
    change: Change,
    detail_type: str,
    data: Mapping[str, Any],
    *,
    event_id: str | None = None,
    subject: str | None = None,
) -> Entry:
    """A CloudEvent whose id is the change's: the same each time it is sent."""
    event = {
        "specversion": "1.0",
        "id": event_id or change.change_id,
        **({"subject": subject} if subject else {}),
        "source": SOURCE,
        "type": detail_type,
        "time": rfc3339(from_epoch(change.occurred_at)),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Entry(source=SOURCE, detail_type=detail_type, detail=_text(event).decode())


def _send_rows(converted: Sequence[_Converted], queues: Mapping[str, Queue]) -> Iterator[Result]:
    """The records whose rows no queue took."""
    for table, queue in queues.items():
        mine = [(one.record_id, one.output) for one in converted if isinstance(one.output, _Row)]
        rows_of = {record_id: row.content for record_id, row in mine if row.table == table}
        try:
            queue.send(list(pack(table, rows_of.values())))
        except Unavailable as error:
            yield from (_failed(record_id, error) for record_id in rows_of)


def _publish(converted: Sequence[_Converted], bus: Bus) -> Iterator[Result]:
    """The records whose events the bus did not take."""
    outputs = [(one.record_id, one.output) for one in converted] + [
        (one.record_id, entry) for one in converted for entry in one.announced
    ]
    events = [(record_id, entry) for record_id, entry in outputs if isinstance(entry, Entry)]
    try:
        bus.publish([entry for _, entry in events])
    except Unavailable as error:
        yield from (_failed(record_id, error) for record_id in dict(events))


def _record_id(record: StreamRecord) -> str:
    """Its sequence number: what a stream's batch response names."""
    return str(record["dynamodb"]["SequenceNumber"])


def _accepted(one: _Converted) -> Result:
    outcome = Outcome.IGNORED if one.output is None else Outcome.ACCEPTED
    return Result(message_id=one.record_id, outcome=outcome, fields=one.fields)


def _failed(record_id: str, error: NilometerError) -> Result:
    return Result(message_id=record_id, outcome=Outcome.FAILED, fields={"reason": str(error)})

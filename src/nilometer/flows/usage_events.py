"""From JSON to usage events: `usage.batch.v1` expanded, everything checked that needs no table."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from nilometer.domain.cloudevents import CloudEvent, check_context
from nilometer.domain.times import parse_rfc3339
from nilometer.domain.usage import BATCH, RECORDED, SNAPSHOT, UsageEvent, usage_event
from nilometer.errors import Rejected

TYPES = (RECORDED, SNAPSHOT)
EVENTS = 100  # in one usage.batch.v1
EVENT_BYTES = 16_384  # of one event: 90 that wait fit one transaction
SEE = "see events/schemas and docs/usage.md"


class _Wire(msgspec.Struct, kw_only=True):
    """A CloudEvent as it travels. Extension attributes are allowed, as the specification says."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: msgspec.Raw
    subject: str | None = None


class _Element(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event inside a batch: what it leaves out is the batch's own."""

    id: str
    time: str
    data: msgspec.Raw
    type: str = RECORDED
    source: str | None = None
    subject: str | None = None
    specversion: str | None = None


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class _Amount(msgspec.Struct, forbid_unknown_fields=True):
    meter: str
    quantity: str | int
    unit: str
    dimensions: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Parsed:
    """One event of a message with its own JSON, or why it is none."""

    payload: bytes
    event: UsageEvent | None = None
    error: Rejected | None = None
    context: CloudEvent | None = None


_WIRE = msgspec.json.Decoder(_Wire)
_ELEMENT = msgspec.json.Decoder(_Element)
_BATCH = msgspec.json.Decoder(_Batch)
_AMOUNT = msgspec.json.Decoder(_Amount)


def parse(payload: bytes) -> list[Parsed]:
    """The events in one CloudEvent, in order; a bad element of a batch does not touch the others."""
    try:
        wire = _WIRE.decode(payload)
        if wire.type != BATCH:
            return [_event(wire, payload)]
        return [_element(wire, bytes(element)) for element in _elements(wire)]
    except (msgspec.MsgspecError, ValueError) as error:
        return [Parsed(payload, error=Rejected("invalid_schema", f"{error}; {SEE}"))]
    except Rejected as error:
        return [Parsed(payload, error=error)]


def _elements(wire: _Wire) -> list[msgspec.Raw]:
    events = _BATCH.decode(wire.data).events
    if not 0 < len(events) <= EVENTS:
        raise Rejected("too_large" if events else "invalid_schema", f"{len(events)} events; a batch has 1 to {EVENTS}")
    return events


def _element(batch: _Wire, payload: bytes) -> Parsed:
    try:
        element = _ELEMENT.decode(payload)
    except (msgspec.MsgspecError, ValueError) as error:
        return Parsed(payload, error=Rejected("invalid_schema", f"{error}; {SEE}"))
    wire = _Wire(
        specversion=element.specversion or batch.specversion,
        id=element.id,
        source=element.source or batch.source,
        type=element.type,
        time=element.time,
        data=element.data,
        subject=element.subject or batch.subject,
    )
    return _event(wire, msgspec.json.encode(wire))


def _event(wire: _Wire, payload: bytes) -> Parsed:
    context: CloudEvent | None = None
    try:
        check_context(specversion=wire.specversion, event_id=wire.id, source=wire.source, subject=wire.subject)
        _check_wire(wire, payload)
        time = parse_rfc3339(wire.time)
        context = CloudEvent(id=wire.id, source=wire.source, type=wire.type, time=time, subject=wire.subject)
        data = _amount(wire.data)
        event = usage_event(
            context, meter=data.meter, quantity=data.quantity, unit=data.unit, dimensions=data.dimensions
        )
    except Rejected as error:
        return Parsed(payload, error=error, context=context)
    return Parsed(payload, event=event, context=context)


def _check_wire(wire: _Wire, payload: bytes) -> None:
    if wire.type not in TYPES:
        raise Rejected("invalid_schema", f"type {wire.type!r} is none of {', '.join(TYPES)}")
    if len(payload) > EVENT_BYTES:
        raise Rejected("too_large", f"the event has {len(payload)} bytes; at most {EVENT_BYTES} are taken")


def _amount(data: msgspec.Raw) -> _Amount:
    try:
        return _AMOUNT.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        if "`$.quantity`" in str(error):
            raise Rejected("quantity_invalid", f"{error}; write a decimal string such as '0.25'") from error
        raise Rejected("invalid_schema", f"data: {error}; {SEE}") from error

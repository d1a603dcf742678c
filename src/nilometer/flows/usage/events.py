"""From JSON to usage events and voids: `usage.batch.v1` expanded, everything checked that needs no table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from nilometer.domain.events.cloudevents import CloudEvent, check_context
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Key
from nilometer.domain.usage.event import BATCH, RECORDED, SNAPSHOT, VOIDED, UsageEvent, check_window, usage_event
from nilometer.domain.usage.void import VoidEvent, void_event
from nilometer.domain.usage.waiting import Missing
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import DEPTH, CloudEventWire
from nilometer.flows.inbox.parcel import safe_text

TYPES = (RECORDED, SNAPSHOT, VOIDED)
EVENTS = 100  # in one usage.batch.v1
EVENT_BYTES = 16_384  # of one event: 90 that wait fit one transaction
SEE = "see events/schemas and docs/usage.md"
REUSED = "this source and id came before with another payload; give each fact its own id"


class _BatchElement(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event inside a batch: what it leaves out is the batch's own."""

    id: str
    time: str
    data: msgspec.Raw
    type: str = RECORDED
    source: str | None = None
    subject: str | None = None
    specversion: str | None = None


class _BatchData(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


class _RecordedData(msgspec.Struct, forbid_unknown_fields=True):
    meter: str
    quantity: str | int
    unit: str
    dimensions: dict[str, str] = {}
    reservation_id: str | None = None


class _VoidData(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    source: str | None = None
    time: str | None = None
    reason: str | None = None


@dataclass(slots=True, eq=False)
class UsageArrival:
    """One usage event or void of a message with its own JSON, or why it is none, and what became of it.

    `event` is `None` only with an `error`. Until it is settled its outcome is FAILED: it is delivered again.
    """

    payload: bytes
    received_at: datetime
    event: UsageEvent | VoidEvent | None = None
    context: CloudEvent | None = None
    """Who it is, as far as that could be read."""
    error: Rejected | None = None
    outcome: Outcome = Outcome.FAILED
    failure: str = ""
    """Why it is not settled, for the log."""
    buried: bool = False
    """Its void came first."""
    waited: Key | None = None
    """The item in which it waited."""
    missing: Missing | None = None
    """What it waits for from now on."""
    copies: list[UsageArrival] = field(default_factory=list)
    """Copies of the same event in this batch."""
    key: Key = field(init=False)
    """Of its fact; only of an event."""

    def __post_init__(self) -> None:
        if self.event is not None:
            self.key = keys.usage_event(self.event.source, self.event.id)

    @property
    def valid(self) -> UsageEvent | VoidEvent:
        """The event of an arrival that is one."""
        assert self.event is not None  # noqa: S101  # the caller left out those that are none
        return self.event

    def settle(self, stored_hash: str, outcome: Outcome) -> None:
        """Its identity is stored already: with this payload, or with another one."""
        if stored_hash == self.valid.payload_hash:
            self.outcome = outcome
        else:
            self.reject(Rejected("id_reuse", REUSED))

    def settle_all(self, stored_hash: str, outcome: Outcome) -> None:
        """`settle` this one and its copies, of which some may be what is stored though this one is not."""
        for one in (self, *self.copies):
            one.settle(stored_hash, outcome)

    def reject(self, error: Rejected) -> None:
        """Wrong for good."""
        self.outcome, self.error = Outcome.REJECTED, error

    def note(self, error: Exception) -> None:
        """Our own messages are safe to log; of an error from a library only the name of its class is."""
        self.failure = safe_text(error)


def settle(arrivals: Iterable[UsageArrival], outcome: Outcome) -> None:
    """All with one outcome, which is stored."""
    for one in arrivals:
        one.outcome = outcome


def note(arrivals: Iterable[UsageArrival], error: Exception) -> None:
    """Why all of them are not settled, for the log."""
    for one in arrivals:
        one.note(error)


_WIRE = msgspec.json.Decoder(CloudEventWire)
_ELEMENT = msgspec.json.Decoder(_BatchElement)
_BATCH = msgspec.json.Decoder(_BatchData)
_AMOUNT = msgspec.json.Decoder(_RecordedData)
_VOID = msgspec.json.Decoder(_VoidData)


def parse(payload: bytes, *, arrival: datetime) -> list[UsageArrival]:
    """The events in one CloudEvent, in order; a bad element of a batch does not touch the others.

    `arrival` decides what is too old or too far in the future.
    """
    try:
        wire = _WIRE.decode(payload)
        if wire.type != BATCH:
            return [_event(wire, payload, arrival)]
        return [_element(wire, bytes(element), arrival) for element in _elements(wire)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return [refused(payload, arrival, Rejected("invalid_schema", f"{error}; {SEE}"))]
    except Rejected as error:
        return [refused(payload, arrival, error)]


def _elements(wire: CloudEventWire) -> list[msgspec.Raw]:
    events = _BATCH.decode(wire.data).events
    if not 0 < len(events) <= EVENTS:
        raise Rejected("too_large" if events else "invalid_schema", f"{len(events)} events; a batch has 1 to {EVENTS}")
    return events


def _element(batch: CloudEventWire, payload: bytes, arrival: datetime) -> UsageArrival:
    if payload[:1] == b'"':  # `bounds.deep_as_text` made it one
        return _text(payload, arrival)
    try:
        element = _ELEMENT.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return refused(payload, arrival, Rejected("invalid_schema", f"{error}; {SEE}"))
    wire = CloudEventWire(
        specversion=element.specversion or batch.specversion,
        id=element.id,
        source=element.source or batch.source,
        type=element.type,
        time=element.time,
        data=element.data,
        subject=element.subject or batch.subject,
    )
    return _event(wire, msgspec.json.encode(wire), arrival)


def _text(payload: bytes, arrival: datetime) -> UsageArrival:
    """An element that was made a text, with what it was; or one that is a text."""
    content = msgspec.json.decode(payload, type=str).encode(errors="backslashreplace")
    is_deep = content[:1] == b"{"
    why = f"an event of a batch is an object that nests at most {DEPTH} levels; {SEE}"
    return refused(
        content if is_deep else payload, arrival, Rejected("too_large" if is_deep else "invalid_schema", why)
    )


def _event(wire: CloudEventWire, payload: bytes, arrival: datetime) -> UsageArrival:
    context: CloudEvent | None = None
    try:
        _check_wire(wire, payload)
        time = parse_rfc3339(wire.time)
        context = CloudEvent(id=wire.id, source=wire.source, type=wire.type, time=time, subject=wire.subject)
        check_window(time, arrival=arrival)
        event = _void(context, wire.data, arrival) if wire.type == VOIDED else _usage(context, wire.data)
    except Rejected as error:
        return refused(payload, arrival, error, context)
    except (ValueError, ArithmeticError, RecursionError) as error:
        return refused(payload, arrival, Rejected("invalid_schema", f"{type(error).__name__}; {SEE}"), context)
    return UsageArrival(payload, arrival, event=event, context=context)


def refused(payload: bytes, arrival: datetime, error: Rejected, context: CloudEvent | None = None) -> UsageArrival:
    """What is no event, with why; `context` as far as it could be read."""
    return UsageArrival(payload, arrival, context=context, error=error, outcome=Outcome.REJECTED)


def _check_wire(wire: CloudEventWire, payload: bytes) -> None:
    check_context(specversion=wire.specversion, event_id=wire.id, source=wire.source, subject=wire.subject)
    if wire.type not in TYPES:
        raise Rejected("invalid_schema", f"type {wire.type!r} is none of {', '.join(TYPES)}")
    if len(payload) > EVENT_BYTES:
        raise Rejected("too_large", f"the event has {len(payload)} bytes; at most {EVENT_BYTES} are taken")


def _usage(context: CloudEvent, data: msgspec.Raw) -> UsageEvent:
    amount = _amount(data)
    return usage_event(
        context,
        meter=amount.meter,
        quantity=amount.quantity,
        unit=amount.unit,
        dimensions=amount.dimensions,
        reservation_id=amount.reservation_id,
    )


def _amount(data: msgspec.Raw) -> _RecordedData:
    try:
        return _AMOUNT.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        if "`$.quantity`" in str(error):
            raise Rejected("quantity_invalid", f"{error}; write a decimal string such as '0.25'") from error
        raise Rejected("invalid_schema", f"data: {error}; {SEE}") from error


def _void(context: CloudEvent, data: msgspec.Raw, arrival: datetime) -> VoidEvent:
    try:
        void = _VOID.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Rejected("invalid_schema", f"data: {error}; {SEE}") from error
    source = void.source or context.source
    check_context(specversion="1.0", event_id=void.id, source=source, subject=None)
    time = parse_rfc3339(void.time) if void.time else None
    return void_event(context, voids_source=source, voids_id=void.id, voids_time=time, arrival=arrival)

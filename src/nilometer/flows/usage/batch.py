"""Usage: events from the bus into facts and counters, exactly once, whatever the queue does.

    open ──▶ check ──▶ count (`flows.counting`) ──▶ keep rejects ──▶ one result a message

Also here: what waited for a workspace is counted when `record.changed.v1` says that it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.cloudevents import CloudEvent
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.usage.event import UsageEvent, check_meter, check_wait
from nilometer.errors import NilometerError, Rejected
from nilometer.flows.inbox.envelope import decode
from nilometer.flows.inbox.rejects import keep
from nilometer.flows.usage.candidate import Batch, Candidate, note
from nilometer.flows.usage.counting import count
from nilometer.flows.usage.events import parse
from nilometer.flows.usage.known import Known

CHANGED = "record.changed.v1"
PAGE = 500  # waiting events that are counted at a time


class _Changed(msgspec.Struct):
    kind: str
    action: str
    workspace_id: str | None = None


class _Change(msgspec.Struct):
    data: _Changed


@dataclass(slots=True)
class _Parcel:
    """One message and what was in it."""

    message: Message
    candidates: list[Candidate] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    became_known: str | None = None
    """The workspace for which events may wait."""
    outcome: Outcome | None = None
    failure: str = ""


def handle(
    messages: Sequence[Message],
    *,
    store: Store,
    objects: Objects,
    now: datetime,
    known: Known | None = None,
    remaining: Callable[[], float] = lambda: float("inf"),
) -> list[Result]:
    """One result a message, in their order; FAILED only for what is not settled when `remaining` runs out.

    A batch event's result is that of its worst event; the fields count the others. Never raises for bad input.
    """
    batch = Batch(store=store, known=known or Known(store), now=now, remaining=remaining)
    parcels = [_open(message, now) for message in messages]
    _count([one for parcel in parcels for one in parcel.candidates], batch)
    for parcel in parcels:
        if parcel.became_known is not None:
            _redrive(parcel, batch, objects)
    _keep_rejects(parcels, store=store, objects=objects, now=now)
    return [_result(parcel) for parcel in parcels]


def _open(message: Message, now: datetime) -> _Parcel:
    parcel = _Parcel(message)
    try:
        envelope = decode(message.body)
        if envelope.detail_type == CHANGED:
            _open_change(parcel, bytes(envelope.detail))
        else:
            _open_events(parcel, bytes(envelope.detail), now)
    except Rejected as error:
        parcel.rejects.append(_reject(error, message.body))
    except Exception as error:  # noqa: BLE001  # the neighbours must pass; this one comes again
        parcel.outcome, parcel.failure = Outcome.FAILED, type(error).__name__
    return parcel


def _open_change(parcel: _Parcel, detail: bytes) -> None:
    try:
        changed = msgspec.json.decode(detail, type=_Change).data
    except msgspec.MsgspecError as error:
        raise Rejected("invalid_schema", f"not a change of a record: {error}") from error
    if changed.kind in {"workspace", "billing"} and changed.action == "INSERT" and changed.workspace_id:
        parcel.became_known = changed.workspace_id
    else:
        parcel.outcome = Outcome.IGNORED


def _open_events(parcel: _Parcel, detail: bytes, now: datetime) -> None:
    for parsed in parse(detail, arrival=now):
        if parsed.error:
            parcel.rejects.append(_reject(parsed.error, parsed.payload.decode(), parsed.context))
        if parsed.event:
            parcel.candidates.append(Candidate(parsed.event, parsed.payload, received_at=now))


def _count(candidates: list[Candidate], batch: Batch) -> None:
    """Settles what can be; an engine that is away leaves the rest FAILED."""
    try:
        count(batch, _of_meters(candidates, batch.known))
    except Exception as error:  # noqa: BLE001  # what is settled stays settled; the rest comes again
        note((one for one in candidates if one.outcome is Outcome.FAILED), error)


def _of_meters(candidates: Iterable[Candidate], known: Known) -> list[Candidate]:
    """The candidates that their meters accept; the others are rejected."""
    listed = list(candidates)
    meters = known.meters(one.event.meter for one in listed if isinstance(one.event, UsageEvent))
    for one in listed:
        try:
            if isinstance(one.event, UsageEvent):
                check_meter(one.event, meters.get(one.event.meter))
        except Rejected as error:
            one.reject(error)
    return [one for one in listed if one.error is None]


def _redrive(parcel: _Parcel, batch: Batch, objects: Objects) -> None:
    """Counts what waited, then removes it: repeated after a crash, it finds facts and only removes."""
    assert parcel.became_known is not None  # noqa: S101  # the caller asked
    try:
        batch.known.tenants([parcel.became_known], fresh=True)
        parcel.outcome = Outcome.IGNORED
        while page := _waiting(batch.store, parcel.became_known):
            parcel.outcome = Outcome.ACCEPTED
            if batch.expired or not _redrive_page(page, batch, objects):
                parcel.outcome, parcel.failure = Outcome.FAILED, "events still wait; they are counted next time"
                return
    except NilometerError as error:
        parcel.outcome, parcel.failure = Outcome.FAILED, str(error)


def _waiting(store: Store, workspace_id: str) -> list[Item]:
    """At most a page of what waits for this workspace."""
    found: list[Item] = []
    for item in store.query(Table.EVENTS, keys.waiting(workspace_id, "", "").pk, consistent=True):
        found.append(item)
        if len(found) == PAGE:
            break
    return found


def _redrive_page(items: Sequence[Item], batch: Batch, objects: Objects) -> bool:
    """True when the whole page is settled and gone."""
    rejects: list[Reject] = []
    candidates: list[Candidate] = []
    for item in items:
        try:
            candidates.append(_waited(item, batch.now))
        except Rejected as error:
            rejects.append(_reject(error, item["payload"]))
    _count([one for one in candidates if one.error is None], batch)
    rejects += _rejects_of(candidates)
    keep(batch.store, objects, rejects, now=batch.now)
    unsettled = {one.waited for one in candidates if one.outcome in {Outcome.FAILED, Outcome.WAITING}}
    gone = [key for item in items if (key := Key(item["pk"], item["sk"])) not in unsettled]
    batch.store.delete_all(Table.EVENTS, gone)
    return not unsettled


def _waited(item: Item, now: datetime) -> Candidate:
    """An event that waited, judged by its first arrival."""
    received_at = parse_rfc3339(item["received_at"])
    [parsed] = parse(item["payload"].encode(), arrival=received_at)
    if parsed.event is None:
        raise parsed.error or Rejected("invalid_schema", "no event")
    candidate = Candidate(parsed.event, parsed.payload, received_at=received_at, waited=Key(item["pk"], item["sk"]))
    try:
        check_wait(received_at, now=now)
    except Rejected as error:
        candidate.reject(error)
    return candidate


def _keep_rejects(parcels: Sequence[_Parcel], *, store: Store, objects: Objects, now: datetime) -> None:
    """A reject that could not be kept comes again."""
    for parcel in parcels:
        parcel.rejects += _rejects_of(parcel.candidates)
    refused = [parcel for parcel in parcels if parcel.rejects]
    try:
        keep(store, objects, [reject for parcel in refused for reject in parcel.rejects], now=now)
    except Exception as error:  # noqa: BLE001  # the neighbours are settled; these come again
        for parcel in refused:
            parcel.outcome, parcel.failure = Outcome.FAILED, type(error).__name__


def _rejects_of(candidates: Iterable[Candidate]) -> list[Reject]:
    return [_reject(one.error, one.payload.decode(), _context(one)) for one in candidates if one.error]


def _reject(error: Rejected, payload: str, context: CloudEvent | None = None) -> Reject:
    return Reject(
        flow="usage",
        reason=error.reason,
        message=str(error),
        payload=payload,
        event_id=context.id if context else None,
        source=context.source if context else None,
        workspace_id=context.subject if context else None,
    )


def _context(one: Candidate) -> CloudEvent:
    event = one.event
    return CloudEvent(id=event.id, source=event.source, type=event.type, time=event.time, subject=event.workspace_id)


_WORST = (
    Outcome.FAILED,
    Outcome.REJECTED,
    Outcome.WAITING,
    Outcome.ACCEPTED,
    Outcome.DUPLICATE,
    Outcome.IGNORED,
)


def _result(parcel: _Parcel) -> Result:
    """What is safe to log: ids, reasons and counts."""
    outcomes: Counter[Outcome] = Counter(
        one.outcome for one in parcel.candidates if one.outcome is not Outcome.REJECTED
    )
    outcomes[Outcome.REJECTED] = len(parcel.rejects)
    if parcel.outcome:
        outcomes[parcel.outcome] += 1
    outcome = next((worst for worst in _WORST if outcomes[worst]), Outcome.IGNORED)
    fields: dict[str, str | int] = _identity(parcel)
    if len(parcel.candidates) + len(parcel.rejects) > 1:
        fields |= {f"events_{name}": number for name, number in outcomes.items() if number}
    failure = parcel.failure or next((one.failure for one in parcel.candidates if one.failure), "")
    if outcome is Outcome.FAILED:
        fields["error"] = failure or "not settled in time"
    return Result(message_id=parcel.message.id, outcome=outcome, fields=fields)


def _identity(parcel: _Parcel) -> dict[str, str | int]:
    """Of the first event, and the first reason."""
    fields: dict[str, str | int] = {}
    if parcel.candidates:
        event = parcel.candidates[0].event
        fields |= {"event_id": event.id, "source": event.source, "workspace_id": event.workspace_id}
    if parcel.became_known:
        fields["workspace_id"] = parcel.became_known
    if parcel.rejects:
        first = parcel.rejects[0]
        known = {"event_id": first.event_id, "source": first.source, "workspace_id": first.workspace_id}
        fields = {name: value for name, value in known.items() if value} | fields | {"reason": first.reason}
    return fields

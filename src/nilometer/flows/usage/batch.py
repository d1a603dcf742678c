"""Usage: events from the bus into facts and counters, exactly once, whatever the queue does.

    open ──▶ check ──▶ count (`flows.usage.counting`) ──▶ conclude, in the inbox of all flows

Also here: what waited for a workspace is counted when `record.changed.v1` says that it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.usage.counter import UsageGroup
from nilometer.domain.usage.event import UsageEvent, check_meter
from nilometer.domain.usage.meter import Meter
from nilometer.domain.usage.period import Period, period_at
from nilometer.domain.usage.void import VoidEvent
from nilometer.domain.usage.waiting import Missing
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.inbox.envelope import RECORD_CHANGED, decode, deep_as_text, read
from nilometer.flows.inbox.parcel import UNREADABLE, Identity, Parcel, Refusal, as_reject, as_rejected, identity_of
from nilometer.flows.inbox.settle import Inbox, inbox, isolate, settle, together
from nilometer.flows.usage.counting import UsageBatch, by_workspace, collapse, count_together, settle_copies, unjudged
from nilometer.flows.usage.events import UsageArrival, note, parse
from nilometer.flows.usage.known import Known, Tenant
from nilometer.flows.usage.voiding import bury, count_reserved, take_back
from nilometer.flows.usage.waiting import count_waiting, wait

_ELEMENTS = 5
"""Levels of nesting to an event of a batch: envelope, detail, data, events, event."""


class _KnownRecord(msgspec.Struct):
    """The part of a change of a record that says what is known by now."""

    kind: str
    action: str
    workspace_id: str | None = None
    pk: str = ""


class _RecordChanged(msgspec.Struct):
    data: _KnownRecord


@dataclass(slots=True)
class UsageMessage:
    """What is in one message: events, or what became known and events may wait for."""

    arrivals: list[UsageArrival] = field(default_factory=list)
    became_known: Missing | None = None


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
    batch = UsageBatch(store=store, known=known or Known(store), now=now, remaining=remaining)
    into = inbox("usage", store=store, objects=objects, now=now)

    def decide(parcels: Sequence[Parcel[UsageMessage]]) -> None:
        _settle([one for parcel in parcels for one in parcel.content.arrivals], batch)
        for parcel in parcels:
            _conclude(parcel, batch, into)

    return settle(messages, into, open=lambda message: _open(message, now), decide=decide, group=together)


def _open(message: Message, now: datetime) -> UsageMessage:
    try:
        envelope = decode(message.body)
    except Rejected as error:
        if error.reason != "too_large":
            raise
        return UsageMessage(_deep(message, error, now))
    if envelope.detail_type != RECORD_CHANGED:
        return UsageMessage(parse(bytes(envelope.detail), arrival=now))
    changed = read(envelope.detail, _RecordChanged, "not a change of a record").data
    return UsageMessage(became_known=_became_known(changed) if changed.action == "INSERT" else None)


def _deep(message: Message, error: Rejected, now: datetime) -> list[UsageArrival]:
    """Of a batch of which some elements nest too deep: these are refused, the others count. `error` for all else."""
    envelope = decode(deep_as_text(message.body.encode(errors="replace"), _ELEMENTS))
    arrivals = parse(bytes(envelope.detail), arrival=now)
    if all(one.error for one in arrivals):
        raise error
    return arrivals


def _became_known(changed: _KnownRecord) -> Missing | None:
    if changed.kind == "meter" and (slug := changed.pk.removeprefix("METER#")):
        return Missing(meter=slug)
    if changed.kind in {"workspace", "billing"} and changed.workspace_id:
        return Missing(workspace_id=changed.workspace_id)
    return None


def _settle(arrivals: Sequence[UsageArrival], batch: UsageBatch) -> None:
    """Settles what can be; an engine that is away leaves the rest FAILED."""
    try:
        valid = [one for one in arrivals if one.outcome is Outcome.FAILED]
        meters = batch.known.meters(one.event.meter for one in valid if isinstance(one.event, UsageEvent))
        while valid:
            _count(batch, _of_meters([one for one in valid if not _lacks_meter(one, meters)], meters))
            _wait_for_meters(batch, [one for one in valid if _lacks_meter(one, meters)])
            valid = unjudged(valid)
    except Unavailable as error:  # what is settled stays settled; the rest comes again
        note((one for one in arrivals if one.outcome is Outcome.FAILED), error)


def _lacks_meter(one: UsageArrival, meters: Mapping[str, Meter]) -> bool:
    return isinstance(one.event, UsageEvent) and one.event.meter not in meters


def _wait_for_meters(batch: UsageBatch, arrivals: Sequence[UsageArrival]) -> None:
    """Those whose meter is created at this moment are counted with their next delivery."""
    leaders = collapse(arrivals)
    slugs = {one.event.meter for one in leaders if isinstance(one.event, UsageEvent)}
    for slug in sorted(slugs):
        lonely = [one for one in leaders if getattr(one.event, "meter", None) == slug]
        _isolate(lonely, partial(_wait, batch, Missing(meter=slug)))
    for leader in leaders:
        settle_copies(leader)


def _of_meters(arrivals: Sequence[UsageArrival], meters: Mapping[str, Meter]) -> list[UsageArrival]:
    """The arrivals that their meters accept; the others are rejected."""
    for one in arrivals:
        try:
            if isinstance(one.event, UsageEvent):
                check_meter(one.event, meters[one.event.meter])
        except Rejected as error:
            one.reject(error)
    return [one for one in arrivals if one.error is None]


def _count(batch: UsageBatch, arrivals: Sequence[UsageArrival]) -> None:
    """Settles every arrival that time and the tables allow; the others stay FAILED.

    Voids come last, so that they find what they take back when it is in the same batch.
    """
    leaders = collapse(arrivals)
    new = [one for one in batch.unstored(leaders, consistent=False) if not one.buried]
    new += [one for one in leaders if one.buried]
    tenants = batch.known.tenants(one.valid.workspace_id for one in new)
    _count_known(batch, [one for one in new if one.valid.workspace_id in tenants])
    for lonely in by_workspace(one for one in new if one.valid.workspace_id not in tenants):
        _isolate(lonely, partial(_wait_for_workspace, batch, lonely[0].valid.workspace_id))
    for leader in leaders:
        settle_copies(leader)


def _wait(batch: UsageBatch, missing: Missing, arrivals: Sequence[UsageArrival]) -> None:
    wait(batch, arrivals, missing)


def _wait_for_workspace(batch: UsageBatch, workspace_id: str, arrivals: Sequence[UsageArrival]) -> None:
    _count_known(batch, wait(batch, arrivals, Missing(workspace_id=workspace_id)))


def _count_known(batch: UsageBatch, arrivals: Sequence[UsageArrival]) -> None:
    tenants = batch.known.tenants(one.valid.workspace_id for one in arrivals)
    meters = batch.known.meters(one.event.meter for one in arrivals if isinstance(one.event, UsageEvent))
    groups: dict[tuple[str, Period], list[UsageArrival]] = {}
    for one in arrivals:
        if isinstance(one.event, UsageEvent):
            period = period_at(tenants[one.event.workspace_id].billing, one.event.time)
            groups.setdefault((one.event.workspace_id, period), []).append(one)
    for (workspace_id, period), members in groups.items():
        group, tenant = UsageGroup(workspace_id, period, meters), tenants[workspace_id]
        _isolate(members, partial(_count_group, batch, group, tenant))
    for one in arrivals:
        if isinstance(one.event, VoidEvent):
            _isolate([one], lambda some: take_back(batch, some[0], tenants[some[0].valid.workspace_id]))


def _isolate(arrivals: Sequence[UsageArrival], decide: Callable[[Sequence[UsageArrival]], None]) -> None:
    """A bad element of a batch does not touch the others either."""
    isolate(
        arrivals,
        decide,
        settled=lambda one: one.outcome is not Outcome.FAILED,
        fail=UsageArrival.note,
        blame=lambda one, error: one.reject(as_rejected(error)),
    )


def _count_group(batch: UsageBatch, group: UsageGroup, tenant: Tenant, members: Sequence[UsageArrival]) -> None:
    together = []
    for one in members:
        reserved = isinstance(one.event, UsageEvent) and one.event.reservation_id is not None
        if not one.buried and not (reserved and count_reserved(batch, group, one, tenant)):
            together.append(one)
    count_together(batch, group, together, tenant)
    for one in members:
        if one.buried and one.outcome is Outcome.FAILED:
            bury(batch, one, group)


def _conclude(parcel: Parcel[UsageMessage], batch: UsageBatch, into: Inbox) -> None:
    """The outcome of a message: of its worst event, or of what waited for a workspace."""
    message, is_overdue = parcel.content, partial(into.is_overdue, parcel.message)
    wrong = [one for one in message.arrivals if one.error]
    _spare(wrong, is_overdue)
    outcomes = [one.outcome for one in message.arrivals]
    parcel.fields |= _identity(message, wrong)
    parcel.refused = _refused(wrong)
    if len(outcomes) > 1:
        parcel.fields |= {f"events_{name}": number for name, number in Counter(outcomes).items()}
    if message.became_known is not None:
        outcomes.append(_count_waiting(message.became_known, batch, into, is_overdue))
    outcome = min(outcomes, key=_WORST.index, default=Outcome.IGNORED)
    if outcome is Outcome.FAILED:
        failure = next((one.failure for one in message.arrivals if one.failure), "")
        waits = "events still wait; they are counted next time" if message.became_known else "not settled in time"
        parcel.fields["error"] = failure or waits
    parcel.settle(outcome)


def _spare(arrivals: Iterable[UsageArrival], is_overdue: Callable[[], bool]) -> None:
    """What our own code stumbles over comes again with its message, for as long as that may."""
    for one in arrivals:
        if one.error and one.error.reason == UNREADABLE and not is_overdue():
            one.outcome, one.failure, one.error = Outcome.FAILED, str(one.error), None


def _count_waiting(missing: Missing, batch: UsageBatch, into: Inbox, is_overdue: Callable[[], bool]) -> Outcome:
    """Counts what waited; what is left comes again with the message."""

    def settle_all(arrivals: Sequence[UsageArrival]) -> None:
        _settle(arrivals, batch)
        _spare(arrivals, is_overdue)
        into.keep(as_reject(into.flow, *one) for one in _refused(arrivals))

    batch.known.forget([missing.workspace_id] if missing.workspace_id else [])
    return count_waiting(batch, missing, settle_all)


def _refused(arrivals: Iterable[UsageArrival]) -> list[Refusal]:
    return [(one.error, one.payload.decode(), _identity_of(one)) for one in arrivals if one.error]


def _identity_of(one: UsageArrival) -> Identity:
    """As far as it could be read."""
    context = one.context
    if context is None:
        return identity_of(one.payload.decode())
    return Identity(event_id=context.id, source=context.source, type=context.type, workspace_id=context.subject)


_WORST = (
    Outcome.FAILED,
    Outcome.REJECTED,
    Outcome.WAITING,
    Outcome.ACCEPTED,
    Outcome.DUPLICATE,
    Outcome.IGNORED,
)


def _identity(message: UsageMessage, wrong: Iterable[UsageArrival]) -> dict[str, str]:
    """Of the first event, else of the first that is none, and the first reason."""
    fields: dict[str, str] = {}
    if message.arrivals:
        first = next((one for one in message.arrivals if one.event), message.arrivals[0])
        fields = _identity_of(first).known
        fields.pop("type", None)
    if message.became_known and message.became_known.workspace_id:
        fields["workspace_id"] = message.became_known.workspace_id
    error = next((one.error for one in wrong if one.error), None)
    return {**fields, "reason": error.reason} if error else fields

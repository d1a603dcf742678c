"""Usage: events from the bus into facts and counters, exactly once, whatever the queue does.

    open ──▶ check ──▶ count (`flows.usage.counting`) ──▶ keep rejects ──▶ one result a message

Also here: what waited for a workspace is counted when `record.changed.v1` says that it is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject
from nilometer.domain.usage.counter import UsageGroup
from nilometer.domain.usage.event import UsageEvent, check_meter
from nilometer.domain.usage.meter import Meter
from nilometer.domain.usage.period import Period, period_at
from nilometer.domain.usage.void import VoidEvent
from nilometer.domain.usage.waiting import Missing
from nilometer.errors import NilometerError, Rejected
from nilometer.flows.inbox.envelope import decode
from nilometer.flows.inbox.rejects import keep
from nilometer.flows.usage.counting import UsageBatch, by_workspace, collapse, count_together, settle_twins
from nilometer.flows.usage.events import UsageArrival, note, parse, refused
from nilometer.flows.usage.known import Known, Tenant
from nilometer.flows.usage.voiding import bury, count_reserved, take_back
from nilometer.flows.usage.waiting import count_waiting, wait

CHANGED = "record.changed.v1"


class _RecordChange(msgspec.Struct):
    kind: str
    action: str
    workspace_id: str | None = None
    pk: str = ""


class _RecordChanged(msgspec.Struct):
    data: _RecordChange


@dataclass(slots=True)
class _UsageMessage:
    """One message and what was in it."""

    message: Message
    arrivals: list[UsageArrival] = field(default_factory=list)
    became_known: Missing | None = None
    """The workspace or the meter for which events may wait."""
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
    batch = UsageBatch(store=store, known=known or Known(store), now=now, remaining=remaining)
    opened = [_open(message, now) for message in messages]
    _settle([one for message in opened for one in message.arrivals], batch)
    for message in opened:
        if message.became_known is not None:
            _redrive(message, message.became_known, batch, objects)
    _keep_rejects(opened, batch, objects)
    return [_result(message) for message in opened]


def _open(message: Message, now: datetime) -> _UsageMessage:
    opened = _UsageMessage(message)
    try:
        envelope = decode(message.body)
        if envelope.detail_type == CHANGED:
            _open_change(opened, bytes(envelope.detail))
        else:
            opened.arrivals = parse(bytes(envelope.detail), arrival=now)
    except Rejected as error:
        opened.arrivals = [refused(message.body.encode(), now, error)]
    except Exception as error:  # noqa: BLE001  # the neighbours must pass; this one comes again
        opened.outcome, opened.failure = Outcome.FAILED, type(error).__name__
    return opened


def _open_change(opened: _UsageMessage, detail: bytes) -> None:
    try:
        changed = msgspec.json.decode(detail, type=_RecordChanged).data
    except msgspec.MsgspecError as error:
        raise Rejected("invalid_schema", f"not a change of a record: {error}") from error
    opened.became_known = _became_known(changed) if changed.action == "INSERT" else None
    if opened.became_known is None:
        opened.outcome = Outcome.IGNORED


def _became_known(changed: _RecordChange) -> Missing | None:
    if changed.kind == "meter" and (slug := changed.pk.removeprefix("METER#")):
        return Missing(meter=slug)
    if changed.kind in {"workspace", "billing"} and changed.workspace_id:
        return Missing(workspace_id=changed.workspace_id)
    return None


def _settle(arrivals: Sequence[UsageArrival], batch: UsageBatch) -> None:
    """Settles what can be; an engine that is away leaves the rest FAILED."""
    try:
        valid = [one for one in arrivals if one.error is None]
        meters = batch.known.meters(one.event.meter for one in valid if isinstance(one.event, UsageEvent))
        _count(batch, _of_meters([one for one in valid if not _lacks_meter(one, meters)], meters))
        _wait_for_meters(batch, [one for one in valid if _lacks_meter(one, meters)])
    except Exception as error:  # noqa: BLE001  # what is settled stays settled; the rest comes again
        note((one for one in arrivals if one.outcome is Outcome.FAILED), error)


def _lacks_meter(one: UsageArrival, meters: Mapping[str, Meter]) -> bool:
    return isinstance(one.event, UsageEvent) and one.event.meter not in meters


def _wait_for_meters(batch: UsageBatch, arrivals: Sequence[UsageArrival]) -> None:
    """Those whose meter is created at this moment are counted with their next delivery."""
    leaders = collapse(arrivals)
    slugs = {one.event.meter for one in leaders if isinstance(one.event, UsageEvent)}
    for slug in sorted(slugs):
        wait(batch, [one for one in leaders if getattr(one.event, "meter", None) == slug], Missing(meter=slug))
    for leader in leaders:
        settle_twins(leader)


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
        _count_known(batch, wait(batch, lonely, Missing(workspace_id=lonely[0].valid.workspace_id)))
    for leader in leaders:
        settle_twins(leader)


def _count_known(batch: UsageBatch, arrivals: Sequence[UsageArrival]) -> None:
    tenants = batch.known.tenants(one.valid.workspace_id for one in arrivals)
    meters = batch.known.meters(one.event.meter for one in arrivals if isinstance(one.event, UsageEvent))
    groups: dict[tuple[str, Period], list[UsageArrival]] = {}
    for one in arrivals:
        if isinstance(one.event, UsageEvent):
            period = period_at(tenants[one.event.workspace_id].billing, one.event.time)
            groups.setdefault((one.event.workspace_id, period), []).append(one)
    for (workspace_id, period), members in groups.items():
        try:
            _count_group(batch, UsageGroup(workspace_id, period, meters), members, tenants[workspace_id])
        except Exception as error:  # noqa: BLE001  # the neighbours must pass; these come again
            note(members, error)
    for one in arrivals:
        if isinstance(one.event, VoidEvent):
            _take_back(batch, one, tenants[one.event.workspace_id])


def _count_group(batch: UsageBatch, group: UsageGroup, members: Sequence[UsageArrival], tenant: Tenant) -> None:
    together = []
    for one in members:
        reserved = isinstance(one.event, UsageEvent) and one.event.reservation_id is not None
        if not one.buried and not (reserved and count_reserved(batch, group, one, tenant)):
            together.append(one)
    count_together(batch, group, together, tenant)
    for one in members:
        if one.buried and one.outcome is Outcome.FAILED:
            bury(batch, one, group)


def _take_back(batch: UsageBatch, one: UsageArrival, tenant: Tenant) -> None:
    try:
        take_back(batch, one, tenant)
    except Exception as error:  # noqa: BLE001  # the neighbours must pass; this one comes again
        one.note(error)


def _redrive(opened: _UsageMessage, missing: Missing, batch: UsageBatch, objects: Objects) -> None:
    """Counts what waited; what is left comes again with the message."""

    def settle(arrivals: Sequence[UsageArrival]) -> None:
        _settle(arrivals, batch)
        keep(batch.store, objects, _rejects_of(arrivals), now=batch.now)

    try:
        batch.known.tenants([missing.workspace_id] if missing.workspace_id else [], fresh=True)
        opened.outcome = count_waiting(batch, missing, settle)
    except NilometerError as error:
        opened.outcome, opened.failure = Outcome.FAILED, str(error)
    else:
        opened.failure = "events still wait; they are counted next time" if opened.outcome is Outcome.FAILED else ""


def _keep_rejects(opened: Sequence[_UsageMessage], batch: UsageBatch, objects: Objects) -> None:
    """A reject that could not be kept comes again."""
    refused = [message for message in opened if any(one.error for one in message.arrivals)]
    if not refused:
        return
    try:
        keep(batch.store, objects, [reject for one in refused for reject in _rejects_of(one.arrivals)], now=batch.now)
    except Exception as error:  # noqa: BLE001  # the neighbours are settled; these come again
        for message in refused:
            message.outcome, message.failure = Outcome.FAILED, type(error).__name__


def _rejects_of(arrivals: Iterable[UsageArrival]) -> list[Reject]:
    return [_reject(one, one.error) for one in arrivals if one.error]


def _reject(one: UsageArrival, error: Rejected) -> Reject:
    context = one.context
    return Reject(
        flow="usage",
        reason=error.reason,
        message=str(error),
        payload=one.payload.decode(),
        event_id=context.id if context else None,
        source=context.source if context else None,
        workspace_id=context.subject if context else None,
    )


_WORST = (
    Outcome.FAILED,
    Outcome.REJECTED,
    Outcome.WAITING,
    Outcome.ACCEPTED,
    Outcome.DUPLICATE,
    Outcome.IGNORED,
)


def _result(opened: _UsageMessage) -> Result:
    """What is safe to log: ids, reasons and counts."""
    outcomes: Counter[Outcome] = Counter(one.outcome for one in opened.arrivals)
    if opened.outcome:
        outcomes[opened.outcome] += 1
    outcome = next((worst for worst in _WORST if outcomes[worst]), Outcome.IGNORED)
    fields: dict[str, str | int] = _identity(opened)
    if len(opened.arrivals) > 1:
        fields |= {f"events_{name}": number for name, number in outcomes.items() if number}
    failure = opened.failure or next((one.failure for one in opened.arrivals if one.failure), "")
    if outcome is Outcome.FAILED:
        fields["error"] = failure or "not settled in time"
    return Result(message_id=opened.message.id, outcome=outcome, fields=fields)


def _identity(opened: _UsageMessage) -> dict[str, str | int]:
    """Of the first event, else of the first that is none, and the first reason."""
    fields: dict[str, str | int] = {}
    first = next((one for one in opened.arrivals if one.event), next(iter(opened.arrivals), None))
    if first and first.context:
        context = first.context
        known = {"event_id": context.id, "source": context.source, "workspace_id": context.subject}
        fields = {name: value for name, value in known.items() if value}
    if opened.became_known and opened.became_known.workspace_id:
        fields["workspace_id"] = opened.became_known.workspace_id
    error = next((one.error for one in opened.arrivals if one.error), None)
    return {**fields, "reason": error.reason} if error else fields

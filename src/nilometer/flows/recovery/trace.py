"""Trace: one event through facts, records, rejects, dead letters and the lake. Reads only.

Facts are found by their key, all else in the lake: nothing is scanned but the audit of the days since the event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.change import Change, ItemAction
from nilometer.domain.notices.notice import announcement, record_change
from nilometer.domain.recovery.dead_letter import DeadLetter
from nilometer.domain.recovery.refused import IN_TABLE
from nilometer.domain.recovery.trace import (
    Audited,
    Hop,
    Trace,
    TracedEvent,
    announced_hop,
    audit_hops,
    changed_hop,
    dead_hop,
    fact_hops,
    gaps,
    in_order,
    of_batch,
    reject_hop,
    row_hops,
    stored_at,
    told_hop,
    touched,
    void_hop,
    waiting_hop,
)
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339_of
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Rejected
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.lake.kinds import announced
from nilometer.flows.recovery.history import images_in, parsed
from nilometer.lake.read.ledger import Ledger

_DAY, _YEAR = timedelta(days=1), timedelta(days=366)
_RETRIES = timedelta(minutes=15)  # a batch may write that long after it began


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where an event may be. `dead` finds the dead letters that mention an id."""

    store: Store
    ledger: Ledger
    objects: Objects
    dead: Callable[[str], Iterable[DeadLetter]]
    now: datetime


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """What is left of one event: the fact, the row of the lake, or one of them, or nothing. `voids` take it back."""

    identity: TracedEvent
    fact: Item | None = None
    row: Mapping[str, Any] | None = None
    voids: Sequence[Mapping[str, Any]] = ()

    @property
    def item(self) -> Mapping[str, Any] | None:
        """The fact, else the row; None of an event that neither tables nor lake have."""
        return self.fact or self.row

    @property
    def batch_at(self) -> datetime | None:
        """When its batch began. Usage arrives when its batch begins; a Stripe event does before."""
        if self.fact:
            return stored_at(self.fact)
        return self.row["received_at"] if self.row and self.identity.kind == "usage_event" else None


def trace(name: str, sources: Sources, *, account: str | None = None, workspace_id: str | None = None) -> Trace:
    """`traced`, the way alone."""
    return traced(name, sources, account=account, workspace_id=workspace_id)[0]


def traced(
    name: str,
    sources: Sources,
    *,
    account: str | None = None,
    workspace_id: str | None = None,
    only_of: str | None = None,
) -> tuple[Trace, list[Audited]]:
    """The way of the event that is called `evt_1`, `SOURCE#ID`, or by an id alone that is in the lake, and the changes
    of records on it.

    `account` is Stripe's connected account. With `workspace_id` usage that waits for its workspace is found. With
    `only_of` what the event changed, announced and told outside of this workspace is left out.
    `Rejected("ambiguous")` when several sources have sent this id.
    """
    found = find(name, sources, account)
    since = _since(found, sources.now)
    audited = _audited(found, sources, since)
    if not found.item and any(one.change.kind != "reject" for one in audited):
        # Facts of services are not in the lake, only what they changed.
        found = replace(found, identity=replace(found.identity, kind="operation"))
    hops = [*_own_hops(found), *_effects(found.identity, audited, sources, since)]
    if not hops:
        hops += _elsewhere(found.identity, sources, workspace_id)
    landed = found.row is not None
    missing = gaps(hops, found.identity, fact=found.fact, landed=landed, now=sources.now)
    theirs = [one for one in audited if only_of is None or _is_of(one, only_of)]
    if len(theirs) < len(audited):
        audited, hops = theirs, [*_own_hops(found), *_effects(found.identity, theirs, sources, since)]
    return Trace(identity=found.identity, hops=in_order(hops), gaps=tuple(missing)), audited


def _is_of(one: Audited, workspace_id: str) -> bool:
    """Records of a workspace are in its partition; a customer's are of all workspaces that it ever paid for."""
    if one.change.kind in {"notification", "reject"}:
        return bool(one.change.item.get("workspace_id") == workspace_id)
    return one.change.key.pk == keys.workspace(workspace_id).pk


def find(name: str, sources: Sources, account: str | None) -> FoundEvent:
    """Fact and row of an event. Without either its `item` is None. `Rejected("ambiguous")` as in `traced`."""
    source, _, event_id = name.rpartition("#")
    candidates = _by_source(source, event_id, sources) if source else _by_id(name, sources, account)
    found = [one for one in candidates if one.item]
    if len(found) > 1:
        names = ", ".join(sorted(f"{one.identity.source}#{one.identity.event_id}" for one in found))
        raise Rejected("ambiguous", f"several events are called {name}: choose one of {names}")
    return found[0] if found else _unknown(source, event_id)


def _unknown(source: str, event_id: str) -> FoundEvent:
    kind = "usage_event" if source else "stripe_event" if event_id.startswith("evt_") else "operation"
    return FoundEvent(TracedEvent(kind=kind, event_id=event_id, source=source or None))


def _by_source(source: str, event_id: str, sources: Sources) -> Iterator[FoundEvent]:
    yield _usage(source, event_id, list(sources.ledger.usage_event(event_id)), sources)
    identity = TracedEvent(kind="operation", event_id=event_id, source=source)
    yield FoundEvent(identity, _fact(keys.operation(source, event_id), sources))


def _by_id(event_id: str, sources: Sources, account: str | None) -> Iterator[FoundEvent]:
    rows = {row["account"]: row for row in sources.ledger.stripe_event(event_id)}
    for one in {account} if account else {OWN_ACCOUNT, *rows}:
        identity = TracedEvent(kind="stripe_event", event_id=event_id, source=one)
        yield FoundEvent(identity, _fact(keys.stripe_event(one, event_id), sources), rows.get(one))
    used = list(sources.ledger.usage_event(event_id))
    for source in {row["source"] for row in used if row["event_id"] == event_id}:
        yield _usage(source, event_id, used, sources)


def _usage(source: str, event_id: str, rows: Sequence[Mapping[str, Any]], sources: Sources) -> FoundEvent:
    """`rows` of all events with this id, and of those that void one."""
    own = [row for row in rows if (row["source"], row["event_id"]) == (source, event_id)]
    return FoundEvent(
        TracedEvent(kind="usage_event", event_id=event_id, source=source),
        _fact(keys.usage_event(source, event_id), sources),
        own[0] if own else None,
        [row for row in rows if (row["voids_source"], row["voids_id"]) == (source, event_id)],
    )


def _fact(key: Key, sources: Sources) -> Item | None:
    """One that has expired is none, though DynamoDB removes it later. One voided before it came is next to its void."""
    fact = sources.store.get(Table.EVENTS, keys.late(key)) or sources.store.get(Table.EVENTS, key)
    return fact if fact and fact["expires_at"] > epoch(sources.now) else None


def _since(found: FoundEvent, now: datetime) -> datetime:
    """No effect is older than the event's arrival."""
    if found.fact:
        return stored_at(found.fact) - _DAY
    return found.row["received_at"] if found.row else now - _YEAR


def _own_hops(found: FoundEvent) -> Iterator[Hop]:
    if found.fact:
        yield from fact_hops(found.fact)
    if found.row:
        table = "stripe_events" if found.identity.kind == "stripe_event" else "usage"
        yield from row_hops(found.row, table, whole=found.fact is None)
    yield from map(void_hop, found.voids)


def _audited(found: FoundEvent, sources: Sources, since: datetime) -> list[Audited]:
    """The changes that name it as their cause, and those of its batch that name another event."""
    rows = sources.ledger.caused(found.identity.causes, since=since)
    own = [one for row in rows if _may_be_of(found.identity, one := _as_change(row, sources.objects))]
    at, item = found.batch_at, found.item
    place = touched(found.identity.kind, item) if item else None
    if at is None or item is None or place is None:
        return own
    if found.identity.kind == "usage_event" and not item.get("voids_id"):
        # Its id may be the cause of all that its batch counted.
        own = [one for one in own if one.change.kind != "counter" or one.change.key.sk.startswith(place[1])]
    until = at + _RETRIES
    near = sources.ledger.written(*place, since=at - timedelta(seconds=1), until=until)
    mates = of_batch((_as_change(row, sources.objects) for row in near), at)
    if found.identity.kind == "stripe_event":
        # One transaction, one cause: the billing record is in another partition.
        causes = [one.cause for one in mates if one.cause and one.cause not in found.identity.causes]
        same = sources.ledger.caused(causes, since=since) if causes else ()
        mates = of_batch(chain(mates, (_as_change(row, sources.objects) for row in same)), at)
    known = {one.change.key for one in own}
    return own + [one for one in mates if one.change.key not in known]


def changed_near(kind: str, item: Mapping[str, Any], sources: Sources, at: datetime) -> list[Audited]:
    """Every change, by a batch that began in the second `at`, of the records around an event."""
    place = touched(kind, item)
    if place is None:
        return []
    rows = sources.ledger.written(*place, since=at - timedelta(seconds=1), until=at + _RETRIES)
    return [one for row in rows if (one := _as_change(row, sources.objects)).batch_at == epoch(at)]


def caused(cause: str, sources: Sources, at: datetime) -> list[Audited]:
    """Every change by a batch that began in the second `at` and names this event as its cause."""
    rows = sources.ledger.caused([cause], since=at - _DAY)
    return [one for row in rows if (one := _as_change(row, sources.objects)).batch_at == epoch(at)]


def causes_of(event_ids: Sequence[str], sources: Sources, at: datetime) -> list[Audited]:
    """The changes from the day before `at` on that name one of these events as their cause."""
    rows = sources.ledger.caused(event_ids, since=at - _DAY) if event_ids else ()
    return [_as_change(row, sources.objects) for row in rows]


def _may_be_of(identity: TracedEvent, one: Audited) -> bool:
    """A reject names the id alone as its cause, and another source may have sent the same."""
    return one.change.kind != "reject" or _same_source(identity, one.change.item)


def _same_source(identity: TracedEvent, reject: Mapping[str, Any]) -> bool:
    return identity.source is None or reject.get("source") in {None, identity.source}


def _as_change(row: Mapping[str, Any], objects: Objects) -> Audited:
    reference = row["images_ref"]
    old, new = images_in(objects.get(reference)) if reference else (parsed(row["old_image"]), parsed(row["new_image"]))
    change = Change(
        change_id=row["change_id"],
        table=Table(row["table_name"]),
        action=ItemAction(row["action"]),
        key=Key(row["pk"], row["sk"]),
        old=dict(old) if old is not None else None,
        new=dict(new) if new is not None else None,
        sequence_number=row["sequence_number"],
        occurred_at=epoch(row["occurred_at"]),
    )
    return Audited(change=change, recorded_at=row["recorded_at"])


def _effects(identity: TracedEvent, audited: Iterable[Audited], sources: Sources, since: datetime) -> Iterator[Hop]:
    """What changed, which event announced it, and who was notified."""
    reasons: set[str] = set()
    yield from audit_hops(audited)
    for one in audited:
        if one.change.kind == "reject":
            yield reject_hop(one.change.item)
            continue
        if one.change.kind == "notification":
            yield told_hop(one)
            continue
        yield changed_hop(one, identity)
        yield from (announced_hop(one, entry.detail_type) for entry in announced(one.change))
        reasons |= _reasons(one)
    if reasons:
        told = (_as_change(row, sources.objects) for row in sources.ledger.caused(sorted(reasons), since=since))
        yield from (told_hop(one) for one in told if one.change.kind == "notification")


def _reasons(one: Audited) -> set[str]:
    """What notices of this change name as their cause."""
    change = one.change
    row = {
        "kind": change.kind,
        "workspace_id": change.item.get("workspace_id"),
        "pk": change.key.pk,
        "sk": change.key.sk,
        "actor": change.item.get("actor"),
        "occurred_at": rfc3339_of(change.occurred_at),
        "old_image": change.old,
        "new_image": change.new,
    }
    recorded = record_change(row)
    told = announcement(recorded) if recorded else None
    return {told.cause} if told else set()


def _elsewhere(identity: TracedEvent, sources: Sources, workspace_id: str | None) -> Iterator[Hop]:
    """Refused a moment ago, so that the lake has it not yet, waiting, or dead."""
    for flow in IN_TABLE:
        for reject in listed(sources.store, flow, since=sources.now - _DAY, now=sources.now):
            if reject["event_id"] == identity.event_id and _same_source(identity, reject):
                yield reject_hop(reject)
    if workspace_id and identity.source:
        partition = keys.waiting_for_workspace(workspace_id)
        waits = sources.store.get(Table.EVENTS, keys.waiting(partition, identity.source, identity.event_id))
        if waits:
            yield waiting_hop(waits)
    yield from map(dead_hop, sources.dead(identity.event_id))

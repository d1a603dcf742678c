"""The groups of a batch: read together, decided one by one, committed together; then the facts of what is stored.

    fresh ──▶ group ──▶ read, plan ──▶ pack ──▶ commit ──▶ facts
                 ▲                      ▲         │ a write lost a race
                 │                      └─────────┤ the groups beside it
                 └── its group ───────────────────┘

A cancelled transaction names the writes that lost, and comes with the items as they are now: their groups are planned
again with those, without a read. Who loses too often, or to a transaction that is under way, is read again,
consistently, in the next round. The others go into the next transaction as they are. The facts wait for the last round:
25 a request, whatever was lost.
A group that fails by itself is set aside, so that no neighbour notices; its error is raised at the end, and the inbox
halves what is left until the event that is the reason stands alone.

An event alone in its batch, and what is read again, has its fact read in one request with the items that it changes.
Alone it is written by two requests at most: what changes a register alone is a plain conditional write, and its fact
another one, half the price of a transaction; else its fact is in the transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Generic, NamedTuple, TypeGuard, TypeVar

from nilometer.aws.dynamodb import TRANSACTION_LIMIT, Store
from nilometer.domain.billing.group import Evidence, Group, Torn
from nilometer.domain.billing.link import Trust
from nilometer.domain.billing.plan import Plan, own_parts
from nilometer.domain.billing.record.inputs import CATALOG
from nilometer.domain.events.outcome import Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Absent, Check, Item, Key, Put, Table, Update, Write
from nilometer.domain.stripe.event import Notification, Scope, StripeEvent
from nilometer.errors import Cancelled, Rejected, Unavailable
from nilometer.flows.inbox.parcel import Parcel
from nilometer.flows.inbox.races import retrying

LONELY = 1  # events of a batch whose facts are not read first: a condition of the transaction says that they are new
GROUP_EVENTS = 25  # of one customer decided together: each may need its fact, a register and more
RENEWALS = 2  # of a group in a round: more are fewer requests, and longer batches where ten workers meet

BYTES = 3_000_000  # of a transaction's 4 MB
_ITEM_BYTES = 4_000  # a generous guess for what of an item is not a blob

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ArrivedEvent:
    """One event as it was opened; `read` says what it means, which is asked for only when no fact knows it."""

    event: StripeEvent | Notification
    read: Callable[[], Evidence]

    @property
    def fact_key(self) -> Key:
        """In the events table. Its insertion makes the event count once."""
        return keys.stripe_event(self.event.scope.account, self.event.id)

    @property
    def owner(self) -> tuple[str, str]:
        """What it must be decided together with: its customer, else its object."""
        customer_id = self.event.customer_id if isinstance(self.event, StripeEvent) else None
        return ("customer", customer_id) if customer_id else ("object", self.event.object_id or self.event.id)

    @cached_property
    def evidence(self) -> Evidence:
        """What it says of its object, and the fact."""
        return self.read()


Parcels = Sequence[Parcel[ArrivedEvent]]


class Pack(Generic[T]):
    """One transaction: `groups` whose writes are `writes`. A check of what two groups read alike is one check."""

    def __init__(self) -> None:
        self.groups: list[T] = []
        self.written: dict[Key, Write] = {}
        self.checks: dict[Key, Check] = {}
        self.size = 0

    @property
    def writes(self) -> list[Write]:
        """One transaction: a write an item, and the checks, one for each key."""
        return [*self.written.values(), *self.checks.values()]

    def at_fault(self, reasons: Sequence[str]) -> set[Key]:
        """The keys of the writes that a cancellation names; empty when it names none. `reasons` follow `writes`."""
        if len(reasons) != len(self.writes):
            return set()
        return {write.key for write, reason in zip(self.writes, reasons, strict=True) if reason != "None"}

    def told(self, found: Mapping[int, Item]) -> dict[Key, Item]:
        """By key, the items that a cancellation came with. `found` are by their place in `writes`."""
        writes = self.writes
        return {writes[place].key: item for place, item in found.items()}

    def touches(self, keys: Iterable[Key]) -> bool:
        """Whether a decision on `keys` must wait until these writes are known to have landed."""
        return not self.written.keys().isdisjoint(keys)

    def take(self, group: T, writes: Sequence[Write]) -> bool:
        """Adds a group unless others are here and its writes do not fit: a transaction has a limit of actions, one of
        bytes, and writes no item twice."""
        size = _size(writes)
        if self.groups and not self._fits(size, writes):
            return False
        self.groups.append(group)
        for write in writes:
            if isinstance(write, Check):
                self.checks[write.key] = write
            else:
                self.written[write.key] = write
        self.size += size
        return True

    def _fits(self, size: int, writes: Sequence[Write]) -> bool:
        count = len(self.written) + len(self.checks) + len(writes)
        return count <= TRANSACTION_LIMIT and self.size + size <= BYTES and not self._clashes(writes)

    def _clashes(self, writes: Sequence[Write]) -> bool:
        return any(
            write.key in self.written
            or (write.key in self.checks and not (isinstance(write, Check) and self.checks[write.key] == write))
            for write in writes
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """One group with its plan, and its transaction once it is packed. `renewals`: how often it lost a race and was
    planned again with the items that the cancellation came with."""

    parcels: Parcels
    plan: Plan
    writes: Sequence[Write] = ()
    renewals: int = 0


class Hint(NamedTuple):
    """What was read for a customer before: its records, and in how many parts it is. Read at once, they save a round; a
    wrong one costs a read."""

    records: Sequence[Key] = ()
    parts: int = 0


_NO_HINT = Hint()


@dataclass(slots=True)
class Committer:
    """Brings the events of one batch to the tables; each parcel gets its outcome once that is stored.

    `hints` are by link.
    """

    store: Store
    now: datetime
    trust: Trust = field(default_factory=Trust)
    hints: dict[Key, Hint] = field(default_factory=dict)
    known: dict[Key, Item | None] = field(default_factory=dict)
    lonely: bool = False
    pack: Pack[Planned] = field(default_factory=Pack)
    waiting: list[Parcels] = field(default_factory=list)
    queue: deque[Planned] = field(default_factory=deque)
    stored: list[Planned] = field(default_factory=list)
    said: set[Key] = field(default_factory=set)
    doubtful: set[Key] = field(default_factory=set)
    lost: Unavailable | None = None
    set_aside: list[Exception] = field(default_factory=list)

    def run(self, parcels: Parcels) -> None:
        """`Unavailable` when a race was lost too often; else the error of a group that fails by itself."""
        self.lonely = len(parcels) <= LONELY
        self.waiting = grouped(parcels if self.lonely else self._fresh(parcels))
        try:
            retrying(self._round, on=(Cancelled, Torn))
        finally:
            self._settle(self.stored)
        if self.set_aside:
            raise self.set_aside[0]

    def _round(self) -> None:
        again, groups = self.lost is not None, self.waiting
        self._forget(self.doubtful)
        self.waiting, self.lost, self.doubtful = [], None, set()
        if again or self.lonely:
            groups = self._read_with_facts(groups, consistent=again)
        self.queue.extend(self._planned(groups, consistent=again))
        while self.queue or self.pack.groups:
            if self.queue:
                planned = self.queue.popleft()
                self._guard(planned.parcels, partial(self._add, planned))
            else:
                self._flush()
        if self.lost:
            raise self.lost

    def _fresh(self, parcels: Parcels) -> Parcels:
        """The first of each event that no fact knows; the others are settled."""
        named = [one.content.fact_key for one in parcels]
        return _unknown(parcels, self.store.batch_get(Table.EVENTS, named, attributes=("version",)))

    def _read_with_facts(self, groups: Iterable[Parcels], *, consistent: bool) -> list[Parcels]:
        """The same of each group, in one request with the items that the groups name."""
        plans = [one for parcels in groups if (one := self._plan(parcels))]
        named = [parcel.content.fact_key for one in plans for parcel in one.parcels]
        missing = self._missing(plans)
        events, records = self.store.batch_get_both(named, missing, consistent=consistent)
        self.known |= {key: records.get(key) for key in missing}
        return [_unknown(one.parcels, events) for one in plans]

    def _missing(self, plans: Iterable[Planned]) -> set[Key]:
        """What the plans still need, and what was read for their customers before."""
        hinted = {key for one in plans if one.plan.missing for key in self._hinted(one)}
        return {key for one in plans for key in one.plan.missing} | hinted - self.known.keys()

    def _hinted(self, planned: Planned) -> Iterator[Key]:
        hint = self.hints.get(_hint_of(planned), _NO_HINT)
        yield from hint.records
        yield from own_parts(planned.plan.group, hint.parts)

    def _planned(self, groups: Iterable[Parcels], *, consistent: bool = False) -> list[Planned]:
        """Reads in rounds: what a link names is known only when the link is."""
        plans = [one for parcels in groups if parcels and (one := self._plan(parcels))]
        while missing := self._missing(plans):
            found = self.store.batch_get(Table.RECORDS, missing, consistent=consistent)
            self.known |= {key: found.get(key) for key in missing}
            plans = [again for one in plans if (again := self._plan(one.parcels, one.plan))]
        return plans

    def _plan(self, parcels: Parcels, before: Plan | None = None) -> Planned | None:
        if before and not before.missing:
            return Planned(parcels, before)
        return self._guard(parcels, partial(self._planned_by, parcels, before.group if before else None))

    def _planned_by(self, parcels: Parcels, group: Group | None) -> Planned:
        return Planned(parcels, Plan(group or self._group(parcels), self.known))

    def _group(self, parcels: Parcels) -> Group:
        first = parcels[0].content
        kind, owner = first.owner
        return Group(
            scope=first.event.scope,
            customer_id=owner if kind == "customer" else None,
            evidence=tuple(one.content.evidence for one in parcels),
            updated_at=rfc3339(self.now),
            trusted=self.trust.names(first.event.scope),
        )

    def _add(self, planned: Planned) -> None:
        """What does not go with the pack waits in the queue until the pack is committed."""
        if self.pack.touches(planned.plan.keys):
            self._commit_before(planned)
        elif self.lost and not planned.plan.keys <= self.known.keys():
            self._again(planned, self.lost)
        elif planned.plan.stale(self.known):
            self.queue.extendleft(self._renewed(planned))
        else:
            self._put_into_pack(planned)

    def _put_into_pack(self, planned: Planned) -> None:
        try:
            writes = planned.writes or self._writes(planned.plan)
        except Torn as error:
            self._again(planned, error)
            return
        if len(writes) > TRANSACTION_LIMIT:
            raise Rejected("too_large", f"{len(writes)} items change together; DynamoDB takes {TRANSACTION_LIMIT}")
        ready = replace(planned, writes=writes)
        if not self.pack.take(ready, writes):
            self._commit_before(ready)

    def _writes(self, plan: Plan) -> Sequence[Write]:
        """With the fact of a lone event, unless a register is all that changes: then the fact follows it."""
        writes = plan.writes()
        if not self.lonely or not writes or _is_one_put(writes):
            return writes
        return [*writes, *(_new_fact(fact) for fact in plan.facts())]

    def _commit_before(self, planned: Planned) -> None:
        self.queue.appendleft(planned)
        self._flush()

    def _flush(self) -> None:
        pack, self.pack = self.pack, Pack()
        if pack.groups:
            self._commit(pack)

    def _commit(self, pack: Pack[Planned]) -> None:
        try:
            self._say_uses(pack.groups)
            self._store(pack.writes)
        except Cancelled as error:
            self._lose(pack, error)
        except Unavailable as error:  # whether it landed is unknown: delivered again, it changes nothing
            self._forget(pack.written)
            _fail(pack.groups, error)
        except Exception as error:  # noqa: BLE001  # one of them is the reason; the others must pass
            self._forget(pack.written)
            self._each(pack.groups, error, self._commit_alone)
        else:
            self._remember(pack.writes)
            self.stored += [one for one in pack.groups if not one.plan.prepares]
            self.queue.extendleft(Planned(one.parcels, one.plan) for one in pack.groups if one.plan.prepares)

    def _say_uses(self, groups: Sequence[Planned]) -> None:
        """Who uses what of the catalog, once a batch."""
        uses = {Key(use["pk"], use["sk"]): use for one in groups for use in one.plan.uses()}
        new = [use for key, use in uses.items() if key not in self.said]
        self.store.put_all(Table.RECORDS, new)
        self.said |= uses.keys()

    def _store(self, writes: Sequence[Write]) -> None:
        """By a plain write, when it is that of a lone event."""
        if self.lonely and _is_one_put(writes):
            self.store.put(writes[0])
        else:
            self.store.commit(writes, returning=not self.lonely)

    def _lose(self, pack: Pack[Planned], error: Cancelled) -> None:
        """Who wrote what lost is decided again: at once when the cancellation came with all that lost, else in the next
        round. The others go into the next transaction."""
        at_fault, told = pack.at_fault(error.reasons), pack.told(error.found)
        losers = [one for one in pack.groups if not at_fault or not at_fault.isdisjoint(w.key for w in one.writes)]
        self._forget(at_fault)
        self.known |= told
        unknown = at_fault - told.keys()
        for one in losers:
            if at_fault and one.renewals < RENEWALS and unknown.isdisjoint(write.key for write in one.writes):
                self._guard(one.parcels, partial(self._renew, one))
            else:
                self._again(one, error)
        self.queue.extendleft(reversed([one for one in pack.groups if one not in losers]))

    def _renew(self, planned: Planned) -> None:
        self.queue.extend(self._renewed(replace(planned, renewals=planned.renewals + 1)))

    def _renewed(self, planned: Planned) -> list[Planned]:
        """Planned again with what is known by now."""
        return [replace(one, renewals=planned.renewals) for one in self._planned([planned.parcels])]

    def _again(self, planned: Planned, error: Unavailable) -> None:
        self.doubtful |= planned.plan.keys
        self._hint(planned)
        self.waiting.append(planned.parcels)
        self.lost = error

    def _commit_alone(self, planned: Planned) -> None:
        alone: Pack[Planned] = Pack()
        alone.take(planned, planned.writes)
        self._commit(alone)

    def _settle(self, groups: Sequence[Planned]) -> None:
        """Their effect is stored, so that their facts may be."""
        try:
            self._put_facts(groups)
        except Cancelled as error:  # of a lone event
            _settle_all(groups, Outcome.DUPLICATE) if error.condition_failed else _fail(groups, error)
        except Unavailable as error:  # delivered again, they change nothing and the facts are put again
            _fail(groups, error)
        except Exception as error:  # noqa: BLE001  # one of them is the reason; the others must pass
            self._each(groups, error, lambda one: self._settle([one]))
        else:
            for one in groups:
                self._hint(one)
            _settle_all(groups, Outcome.ACCEPTED)

    def _put_facts(self, groups: Sequence[Planned]) -> None:
        """Of a lone event on condition that it is new, unless its transaction held it."""
        without = (one for one in groups if all(write.table is not Table.EVENTS for write in one.writes))
        facts = [fact for one in without for fact in one.plan.facts()]
        if not self.lonely:
            self.store.put_all(Table.EVENTS, facts)
        elif facts:
            self.store.put(_new_fact(facts[0]))

    def _hint(self, planned: Planned) -> None:
        plan, name = planned.plan, _hint_of(planned)
        known = self.hints.get(name, _NO_HINT)
        records = [key for key in plan.keys if key.sk == "BILLING"]
        self.hints[name] = Hint(records, known.parts if plan.parts is None else plan.parts)

    def _each(self, groups: Sequence[Planned], error: Exception, do: Callable[[Planned], None]) -> None:
        """Each group by itself; one that is alone already is set aside."""
        if len(groups) == 1:
            self.set_aside.append(error)
            return
        for one in groups:
            do(one)

    def _guard(self, parcels: Parcels, do: Callable[[], T]) -> T | None:
        """What goes wrong with one group must not be noticed by the others."""
        try:
            return do()
        except Unavailable as error:
            for one in parcels:
                one.fail(error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the neighbours must pass
            self.set_aside.append(error)
        return None

    def _remember(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if isinstance(write, Put) and write.table is Table.RECORDS:
                self.known[write.key] = write.item
            elif isinstance(write, Update):
                self.known.pop(write.key, None)
            elif not isinstance(write, Put | Check):
                self.known[write.key] = None

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.known.pop(key, None)


def _hint_of(planned: Planned) -> Key:
    """Under which the records of a group were found: most often the next event's are the same."""
    return planned.plan.group.link_key


def grouped(parcels: Parcels) -> list[Parcels]:
    """By customer, or by object when there is none; catalog first, so that new subscriptions find it."""
    groups: dict[tuple[Scope, str, str], list[Parcel[ArrivedEvent]]] = {}
    for one in parcels:
        groups.setdefault((one.content.event.scope, *one.content.owner), []).append(one)
    ordered = sorted(groups.values(), key=lambda together: together[0].content.event.object_type not in CATALOG)
    return [chunk for together in ordered for chunk in _chunks(together)]


def _chunks(parcels: Parcels) -> Iterator[Parcels]:
    ordered = sorted(parcels, key=lambda one: one.content.event.created)
    yield from (ordered[start : start + GROUP_EVENTS] for start in range(0, len(ordered), GROUP_EVENTS))


def _unknown(parcels: Parcels, stored: Container[Key]) -> Parcels:
    """The first of each event that has no fact in `stored`; the others are settled."""
    first: dict[Key, Parcel[ArrivedEvent]] = {}
    for one in parcels:
        key = one.content.fact_key
        if key in stored or first.setdefault(key, one) is not one:
            one.settle(Outcome.DUPLICATE)
    return [one for one in first.values() if one.outcome is None]


def _is_one_put(writes: Sequence[Write]) -> TypeGuard[Sequence[Put]]:
    return len(writes) == 1 and isinstance(writes[0], Put)


def _new_fact(fact: Item) -> Put:
    return Put(table=Table.EVENTS, item=fact, expected=Absent())


def _settle_all(groups: Iterable[Planned], outcome: Outcome) -> None:
    for one in groups:
        for parcel in one.parcels:
            parcel.settle(outcome)


def _fail(groups: Iterable[Planned], error: Unavailable) -> None:
    for one in groups:
        for parcel in one.parcels:
            parcel.fail(error)


def _size(writes: Sequence[Write]) -> int:
    blobs = (
        len(value)
        for write in writes
        if isinstance(write, Put)
        for value in write.item.values()
        if isinstance(value, bytes)
    )
    return sum(blobs) + _ITEM_BYTES * len(writes)

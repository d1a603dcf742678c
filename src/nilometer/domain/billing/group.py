"""A group: the events that must be decided together, those of one customer, or of one object without a customer.

What they say merges into the registers of their objects, and of each object a billing record keeps a view: as little
as its fold needs, and nothing of what no longer counts. Subscriptions that are alike are folded together, so that a
thousand of them cost little more than one. What a group says a second time changes nothing, so an event
whose fact was not stored may come again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Put, Table, Write, version_of
from nilometer.domain.stripe.event import SUMMARY, Scope
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import (
    Element,
    Register,
    merge,
    period_of,
    register,
    register_key,
    register_of,
    without,
)
from nilometer.domain.stripe.registers.resolve import Resolution, register_item, resolve
from nilometer.errors import Unavailable

Known = Mapping[Key, Item | None]
"""What was read, by key; None: nothing is stored."""
View = Mapping[str, Any]
"""What a billing record keeps of one object."""
Views = Mapping[str, View]
"""Those of one customer, by object id."""
Bounds = tuple[int, int]
"""Of a billing period, half-open."""

CHARGE = "charge"
PERIODS = 14  # newest billing periods of a subscription
NEWEST_PERIODS = 100  # of the subscriptions beside the base; with 70 of them that renew each month, 40 days
ACCESS: Mapping[str, str] = {"active": "full", "trialing": "full", "past_due": "grace"}
"""What a living subscription gives, by its status; any other gives nothing."""

COUNTING = NEWEST_PERIODS + PERIODS
"""Periods of a customer that may count: those beside the base's, which may be among them."""
MOST_PERIODS = 2 * COUNTING + 1
"""As many as are ever looked at, of how many subscriptions they may be."""

NAMED_ALIKE = 21  # of subscriptions that are alike, by id: as many as a record names, and the base
_NAMING_A_CHARGE = frozenset({"dispute", "radar.early_fraud_warning"})
_OF_THE_BOOKS = frozenset({"unit_amount", "currency", "interval", "interval_count", "usage_type"})


class Torn(Unavailable):
    """Items that were read one by one contradict each other: read them again, consistently."""


class Claim(NamedTuple):
    """Who says which workspace a customer pays for. Ordered: the first is the best, of two equally good the older
    object's."""

    rank: int
    created: int
    object_id: str
    workspace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One element for the register of one object.

    `fact` is the event's item in the events table without its workspace, or None for an answer of Stripe's API.
    `fetch`: a thin notification of `second`, so the object must be asked for.
    """

    element: Element | None
    object_type: str
    object_id: str | None
    fact: Item | None = None
    fetch: bool = False
    second: int = 0

    @property
    def state(self) -> Projection:
        """The object's projected fields; empty for a thin notification."""
        return (self.element.state if self.element else None) or {}

    @property
    def subscription_id(self) -> str | None:
        """The subscription that it is about: the object itself, or the one that it names."""
        return self.object_id if self.object_type == "subscription" else self.state.get("subscription")

    @property
    def charge(self) -> str | None:
        """The charge that a dispute or an early fraud warning names."""
        return self.state.get("charge") if self.state.get("object") in _NAMING_A_CHARGE else None

    @property
    def event_id(self) -> str:
        """`evt_...`, or the element's own id for an answer of Stripe's API; empty without a fact and an element."""
        return str(self.fact["event_id"]) if self.fact else self.element.id if self.element else ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """`operator_claim` is an operator's claim of the workspace, `said_in` the event's id, `said_by` its source.

    `trusted`: whether objects of the scope may name workspaces; None: as it was when the link was written, at first
    those of the platform's own account. `dropped` is the id of an event that an operator takes out.
    """

    scope: Scope
    customer_id: str | None
    evidence: tuple[Evidence, ...]
    updated_at: str
    trusted: bool | None = None
    dropped: str | None = None
    operator_claim: Claim | None = None
    said_in: str = ""
    said_by: str | None = None

    @cached_property
    def cause(self) -> str:
        """The last event of the group."""
        return max((one.event_id for one in self.evidence), default=self.said_in)

    @cached_property
    def elements(self) -> Mapping[Key, list[Evidence]]:
        """By the key of the register that they belong to."""
        found: dict[Key, list[Evidence]] = {}
        for one in self.evidence:
            if one.element and one.object_id:
                key = register_key(self.scope, one.object_type, one.object_id, self.customer_id)
                found.setdefault(key, []).append(one)
        return found

    @cached_property
    def charges(self) -> set[Key]:
        """The registers of charges whose customer is also this group's, when they know one."""
        if self.customer_id is not None:
            return set()
        return {register_key(self.scope, CHARGE, one.charge, None) for one in self.evidence if one.charge}

    @cached_property
    def link_key(self) -> Key:
        """The link of the group's customer in the records table. Only for a group that has a customer."""
        return keys.link(self.scope.account, self.scope.livemode, str(self.customer_id))

    @cached_property
    def merges(self) -> dict[Key, Merged]:
        """What was merged before, by register: it holds as long as the item is the one that was read."""
        return {}

    def with_owner(self, known: Known) -> Group:
        """The customer of a dispute is that of its charge; `known` has `charges`."""
        owner = next((found for key in self.charges if (found := (known[key] or {}).get("customer_id"))), None)
        return replace(self, customer_id=owner) if owner else self


@dataclass(frozen=True, slots=True)
class Merged:
    """One register before and after; `stored` is its item as it was read."""

    key: Key
    object_type: str
    object_id: str
    stored: Item | None
    before: Register
    after: Register
    resolution_before: Resolution | None
    resolution: Resolution | None

    @property
    def changed(self) -> bool:
        """False when the register held all of the evidence already, as with an event that comes again."""
        return self.before != self.after

    @property
    def version(self) -> int:
        """The number that the next write gives the item: 1 for a new one."""
        return int(self.stored["version"]) + 1 if self.stored else 1


def merged(group: Group, known: Known) -> list[Merged]:
    """One value for each object that the group has evidence of."""
    merges = group.merges
    for key, found in group.elements.items():
        if key not in merges or merges[key].stored is not known[key]:
            merges[key] = _merge(key, found, known[key], group.dropped)
    return [merges[key] for key in group.elements]


def register_writes(group: Group, registers: Sequence[Merged]) -> Iterator[Write]:
    """A register that the evidence does not change is not written."""
    for one in registers:
        if one.changed and one.resolution:
            item = register_item(
                one.key,
                one.after,
                one.resolution,
                scope=group.scope,
                version=one.version,
                cause=group.cause,
                updated_at=group.updated_at,
            )
            yield Put(table=Table.RECORDS, item=item, expected=version_of(one.stored))


def changed_views(registers: Sequence[Merged]) -> dict[str, View | None]:
    """The views that changed, each with the version of its register; None: the object no longer counts."""
    changed: dict[str, View | None] = {}
    for one in registers:
        before, after = view_of(one.before, one.resolution_before), view_of(one.after, one.resolution)
        if before != after:
            name = view_key(one.object_type, one.object_id)
            changed[name] = None if after is None else {**after, "version": one.version}
    return changed


def _merge(key: Key, found: Sequence[Evidence], stored: Item | None, dropped: str | None) -> Merged:
    before = register_of(stored)
    kept = without(before, dropped) if dropped else before
    after = merge(kept, register(one.element for one in found if one.element))
    first = found[0]
    return Merged(key, first.object_type, str(first.object_id), stored, before, after, resolve(before), resolve(after))


def view(register: Register) -> dict[str, Any] | None:
    """None when the object adds nothing to its workspace's billing: a paid invoice, a finished schedule."""
    return view_of(register, resolve(register))


def view_of(register: Register, resolution: Resolution | None) -> dict[str, Any] | None:
    """The same, of a register that was resolved before."""
    if resolution is None:
        return None
    state = resolution.state
    made = _VIEWS.get(str(state["object"]), _nothing)(state, register)
    if made is None:
        return None
    running = _running(made.get("periods", ()), resolution.second)
    doubt = {"doubt": True} if resolution.ambiguous else {}
    unread = {"unreadable": state["unreadable"]} if "unreadable" in state else {}
    return {"object": state["object"], **made, **running, **unread, **doubt}


def view_key(object_type: str, object_id: str) -> str:
    """The name of a view within its customer; a summary has its customer's id."""
    return "entitlements" if object_type == SUMMARY else object_id


def periods_of(register: Register, state: Projection) -> list[list[int]]:
    """Half-open [start, end), ascending, without overlaps: of those that run at a moment, the one that began last. So a
    year goes on when its monthly item is removed, until the next one is added. After the last start only what runs
    now does. `state` is the resolved one: within a second, in which several ends may be reported, it says which."""
    seen = {start: told.end for start, told in register.periods.items()}
    now = period_of(state)
    if now and now[0] in seen:
        seen[now[0]] = now[1]
    found: list[list[int]] = []
    ends: list[int] = []
    for start, end in sorted(seen.items()):
        if found:
            found[-1][1] = min(found[-1][1], start)
        while found and found[-1][1] < start and (longer := [one for one in ends if one > found[-1][1]]):
            found.append([found[-1][1], min(start, longer[-1])])
        found.append([start, end])
        ends.append(end)
    if now and found and found[-1][1] < now[1]:
        found.append([found[-1][1], now[1]])
    ended_at = state.get("ended_at")
    if ended_at is not None:
        found = [[start, min(end, ended_at)] for start, end in found]
    return [bounds for bounds in found if bounds[0] < bounds[1]][-PERIODS:]


def current_period(view: View) -> Bounds | tuple[None, None]:
    """Of a subscription: its newest period, or, where that one begins after the second of the newest event, the one
    that runs in that second."""
    newest = (view.get("periods") or [None])[-1]
    bounds = view.get("current") or newest
    return (bounds[0], bounds[1]) if bounds else (None, None)


def _running(periods: Sequence[list[int]], second: int) -> dict[str, list[int]]:
    """The period that runs in a second, kept only when the newest begins later: so it changes with no other event."""
    if not periods or periods[-1][0] <= second:
        return {}
    return next(({"current": bounds} for bounds in reversed(periods) if bounds[0] <= second < bounds[1]), {})


def _subscription(state: Projection, register: Register) -> dict[str, Any]:
    left_out = {"id", "object", "customer", "workspace_id", "collection_method"}
    kept = {name: value for name, value in state.items() if name not in left_out}
    items = [{name: item[name] for name in item if name not in _OF_THE_BOOKS} for item in state.get("items", ())]
    return {**kept, "items": items, "periods": periods_of(register, state)}


def _invoice(state: Projection, _register: Register) -> dict[str, Any] | None:
    if state.get("status") != "open" or state.get("deleted"):
        return None
    names = (
        "created", "amount_remaining", "currency", "attempt_count", "next_payment_attempt", "due_date", "finalized_at",
        "subscription",
    )  # fmt: skip
    return {name: state[name] for name in names if name in state}


def _customer(state: Projection, _register: Register) -> dict[str, Any]:
    """Who is deleted owes nothing and pays with nothing, whether an event said so or a 404."""
    if state.get("deleted"):
        return {"deleted": True}
    return {name: state[name] for name in ("delinquent", "default_payment_method") if name in state}


def _payment_method(state: Projection, _register: Register) -> dict[str, Any] | None:
    if "customer" not in state:
        return None
    return {name: state[name] for name in ("type", "exp_month", "exp_year") if name in state}


def _schedule(state: Projection, _register: Register) -> dict[str, Any] | None:
    if state.get("status") not in {"not_started", "active"}:
        return None
    return {name: state[name] for name in ("subscription", "phase_start", "phases", "end_behavior") if name in state}


def _summary(state: Projection, _register: Register) -> dict[str, Any]:
    return {"features": state["features"]}


def _charge(state: Projection, _register: Register) -> dict[str, Any] | None:
    """A dispute or a warning is an object of its own; a refund is reported by its charge."""
    if not state.get("amount_refunded"):
        return None
    return {name: state[name] for name in ("created", "amount_refunded", "currency") if name in state}


def _dispute(state: Projection, _register: Register) -> dict[str, Any]:
    return {name: state[name] for name in ("created", "status", "reason", "charge") if name in state}


def _warning(state: Projection, _register: Register) -> dict[str, Any]:
    return {name: state[name] for name in ("created", "fraud_type", "charge") if name in state}


def _nothing(_state: Projection, _register: Register) -> None:
    return None


_VIEWS: Mapping[str, Callable[[Projection, Register], dict[str, Any] | None]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "customer": _customer,
    "payment_method": _payment_method,
    "subscription_schedule": _schedule,
    "charge": _charge,
    "dispute": _dispute,
    "radar.early_fraud_warning": _warning,
    SUMMARY: _summary,
}


@dataclass(slots=True, kw_only=True)
class Alike:
    """`count` subscriptions: `view` is that of the newest, `id`; `names` are the first ids, `last` the last.

    Of each item of the view, `amounts` has the sum of quantities with 1 where there is none, and `seats` with 0.
    `periods` are the newest `MOST_PERIODS`, ascending: more can never count. `kind` is what they have in common.
    `created` is when the newest was, and `own`: whether the view is its own, or one of the same kind's.
    """

    customer: str
    kind: Any
    id: str
    view: View
    created: int
    own: bool = True
    names: list[str]
    last: str
    count: int
    amounts: list[int]
    seats: list[int]
    periods: Sequence[Bounds]

    @property
    def living(self) -> bool:
        """Whether they give their limits and seats; one that does not is alone."""
        return self.view.get("status") in ACCESS


def alike(
    customer: str, views: Views, parts: Iterable[Alike] = (), kinds: Mapping[str, Any] | None = None
) -> Iterator[Alike]:
    """The subscriptions of a customer, together where they are alike; `parts` were put together before. `kinds` are
    those of the views, where they are known."""
    found: dict[Any, list[Alike]] = {}
    single: dict[Any, list[str]] = {}
    for one in parts:
        found.setdefault(one.kind, []).append(one)
    for name, view in views.items():
        if view["object"] == "subscription":
            single.setdefault(kinds[name] if kinds else kind_of(name, view), []).append(name)
    for kind, names in single.items():
        found.setdefault(kind, []).append(_sum(kind, names, views))
    return (_together(customer, ones) for ones in found.values())


def newest_periods(many: Iterable[Sequence[Bounds]], most: int) -> Sequence[Bounds]:
    """The newest `most` of all, ascending; each of `many` is ascending and has none twice."""
    filled = [one[-most:] for one in many if one]
    if len(filled) <= 1:
        return filled[0] if filled else ()
    newest = sorted(chain.from_iterable(_tails(filled, most)))[-most:]
    if len(set(newest)) == len(newest):
        return newest
    return sorted(set(chain.from_iterable(filled)))[-most:]


def _tails(filled: Sequence[Sequence[Bounds]], most: int) -> Iterable[Sequence[Bounds]]:
    """Of each what may be among the newest `most` of all: what is not older than the last of as many as that."""
    share = most // len(filled) + 1
    first = sorted(chain.from_iterable(one[-share:] for one in filled))
    if len(first) < most:
        return filled
    return [one[bisect_left(one, first[-most]) :] for one in filled]


def _together(customer: str, ones: Sequence[Alike]) -> Alike:
    if len(ones) == 1:
        return ones[0] if ones[0].customer == customer else replace(ones[0], customer=customer)
    newest = max(ones, key=_age)
    return Alike(
        customer=customer,
        kind=newest.kind,
        id=newest.id,
        view=newest.view,
        created=newest.created,
        own=newest.own,
        names=sorted([name for one in ones for name in one.names])[:NAMED_ALIKE],
        last=max([one.last for one in ones]),
        count=sum([one.count for one in ones]),
        amounts=list(map(sum, zip(*[one.amounts for one in ones], strict=True))),
        seats=list(map(sum, zip(*[one.seats for one in ones], strict=True))),
        periods=newest_periods([one.periods for one in ones if one.periods], MOST_PERIODS),
    )


def _sum(kind: Any, names: list[str], views: Views) -> Alike:
    """Of subscriptions that are alike."""
    names.sort()
    created, newest = max([(int(views[name].get("created") or 0), name) for name in names])
    quantities = [[item.get("quantity") for item in views[name].get("items", ())] for name in names]
    of_items = list(zip(*quantities, strict=True))
    periods = {(start, end) for name in names for start, end in views[name].get("periods", ())}
    return Alike(
        customer="",
        kind=kind,
        id=newest,
        view=views[newest],
        created=created,
        names=names[:NAMED_ALIKE],
        last=names[-1],
        count=len(names),
        amounts=[sum([1 if one is None else int(one) for one in of_item]) for of_item in of_items],
        seats=[sum([int(one or 0) for one in of_item]) for of_item in of_items],
        periods=sorted(periods)[-MOST_PERIODS:],
    )


def kind_of(name: str, view: View) -> Any:
    """What makes subscriptions alike; one that gives nothing is like no other."""
    status = view.get("status")
    return (status, *map(_priced, view.get("items", ()))) if status in ACCESS else name


def _priced(item: Mapping[str, Any]) -> Any:
    metadata = item.get("metadata")
    return item.get("product"), item.get("price"), *(sorted(metadata.items()) if metadata else ())


def _age(one: Alike) -> tuple[int, str]:
    return one.created, one.id

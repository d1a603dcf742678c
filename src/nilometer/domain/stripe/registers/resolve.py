"""What a register means: one state, and whether the evidence leaves a doubt.

1. Terminal beats live, unless the live object was created after the terminal second (a product id used again).
2. A newer second beats an older one.
3. Within a second, states are nodes and events with `previous_attributes` are edges from the state before to the
   state after. The events happened one after another, so the edges form a walk; it ends in the one node that is
   entered once more than it is left. When every node is balanced it ends where it began: in the `*.created`
   snapshot, or in the state that the second before ended with.
4. Without edges the furthest in life wins (created < other < deleted; an invoice's status, then its attempts).
5. What is left is a doubt: a deterministic choice, and `ambiguous`, so that the object is fetched again.

A pure function of the register, so that everybody who has the same events says the same. Its answer stands, readable,
beside the evidence in the register's item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Item, Key, new_item
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.fetchable import fetchable
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import Element, Register, pack

REFETCH_INDEX = "REFETCH"  # gsi1pk of the registers in doubt; gsi1sk is when to fetch
REFETCH_DELAY = 2  # seconds past the doubtful second: an event in flight may settle it


class Rule(StrEnum):
    """What decided, for `billing explain`."""

    SINGLE = "single"  # one state in the newest second
    WALK = "walk"  # the walk's end
    CYCLE = "cycle"  # a walk that ended where it began
    RANK = "rank"  # no edges: the furthest in life
    DOUBT = "doubt"  # none of these: chosen by rank and digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The state at `second` with its `digest`; `rule` chose it; `ambiguous` when Stripe must be asked."""

    state: Projection
    second: int
    digest: str
    rule: Rule
    ambiguous: bool
    type: str = ""
    """Of the event that said the state, or `refetch` for an answer of Stripe's API."""

    @property
    def deleted(self) -> bool:
        """Stripe deleted the object. The register stays, so that a late event does not revive it."""
        return bool(self.state.get("deleted"))


def resolve(register: Register) -> Resolution | None:
    """None for an empty register."""
    terminal = [element for element in register.elements if element.terminal]
    live = [element for element in register.elements if not element.terminal]
    lane = live if not terminal or _born_again(live, terminal) else terminal
    return _settle(_seconds(lane))


def _born_again(live: Sequence[Element], terminal: Sequence[Element]) -> bool:
    """Ids of products, plans and coupons can be chosen, and used again after a deletion."""
    ended = max(element.second for element in terminal)
    return any(int((element.state or {}).get("created") or 0) > ended for element in live)


def _seconds(lane: Iterable[Element]) -> list[list[Element]]:
    """Newest second first, as the register keeps them."""
    return [list(group) for _, group in groupby(lane, key=lambda element: element.second)]


def _settle(seconds: Sequence[Sequence[Element]]) -> Resolution | None:
    if not seconds:
        return None
    now, before = seconds[0], seconds[1:]
    states = {element.post: element for element in now}
    if len(states) == 1 and not _edges(now):
        return _said(now[0], Rule.SINGLE)
    return _walk(now, before) if _edges(now) else _furthest(now)


def _edges(elements: Iterable[Element]) -> list[tuple[str, str]]:
    """From the state before to the state after; an event that changed nothing that we keep is none."""
    return [(e.pre, e.post) for e in elements if e.pre is not None and e.pre != e.post]


def _walk(now: Sequence[Element], before: Sequence[Sequence[Element]]) -> Resolution:
    edges = _edges(now)
    balance: Counter[str] = Counter()
    for pre, post in edges:
        balance[post] += 1
        balance[pre] -= 1
    ends = [node for node, surplus in balance.items() if surplus > 0]
    if not _connected(edges) or sum(surplus for surplus in balance.values() if surplus > 0) > 1:
        return _doubt([e for e in now if e.post in ends] or now)
    if not ends:
        return _cycle(now, before)
    [start] = [node for node, surplus in balance.items() if surplus < 0]
    aside = _aside(now, edges)
    end = next(e for e in now if e.post == ends[0])
    if aside:
        return _beside(_best([e for e in now if e.post == end.post]), aside)
    return _said(end, Rule.WALK, ambiguous=start != _start(now, before, default=start))


def _cycle(now: Sequence[Element], before: Sequence[Sequence[Element]]) -> Resolution:
    """Balanced: the end is the beginning, when we know the beginning."""
    anchor = _start(now, before, default="")
    at_anchor = [element for element in now if element.post == anchor]
    aside = _aside(now, _edges(now))
    if not at_anchor or aside:
        return _doubt(at_anchor or now)
    return _said(at_anchor[0], Rule.CYCLE, ambiguous=_doubtful(now, before))


def _start(now: Sequence[Element], before: Sequence[Sequence[Element]], *, default: str) -> str:
    """Where the second began: its `*.created` snapshot, or how the second before ended; else `default`."""
    created = {element.post for element in now if element.created}
    if created:
        return min(created)
    earlier = _settle(before)
    return earlier.digest if earlier else default


def _doubtful(now: Sequence[Element], before: Sequence[Sequence[Element]]) -> bool:
    """Whether the second's beginning is itself in doubt."""
    earlier = None if any(element.created for element in now) else _settle(before)
    return bool(earlier and earlier.ambiguous)


def _aside(now: Sequence[Element], edges: Sequence[tuple[str, str]]) -> list[Element]:
    """Snapshots that no edge touches: something was not reported. A fetched one may be older, a created one is."""
    nodes = {node for edge in edges for node in edge}
    return [e for e in now if e.post not in nodes and e.rank > 0]


def _beside(end: Element, aside: Sequence[Element]) -> Resolution:
    """The walk's end against snapshots that no edge touches: the furthest in life, in doubt when equally far."""
    return _furthest([end, *aside])


def _connected(edges: Sequence[tuple[str, str]]) -> bool:
    """All edges in one piece: else a part of the walk was lost."""
    reached, pending = {edges[0][0]}, list(edges)
    while pending:
        touching = [edge for edge in pending if reached & set(edge)]
        if not touching:
            return False
        reached.update(node for edge in touching for node in edge)
        pending = [edge for edge in pending if not reached >= set(edge)]
    return True


def _furthest(elements: Sequence[Element]) -> Resolution:
    best = _best(elements)
    rivals = {element.post for element in elements if element.rank == best.rank}
    return _said(best, Rule.RANK) if len(rivals) == 1 else _said(best, Rule.DOUBT, ambiguous=True)


def _doubt(elements: Sequence[Element]) -> Resolution:
    return _said(_best(elements), Rule.DOUBT, ambiguous=True)


def _best(elements: Iterable[Element]) -> Element:
    return max(elements, key=lambda element: (element.rank, element.post))


def _said(element: Element, rule: Rule, *, ambiguous: bool = False) -> Resolution:
    return Resolution(
        state=element.state or {},
        second=element.second,
        digest=element.post,
        rule=rule,
        ambiguous=ambiguous,
        type=element.type,
    )


def register_item(
    key: Key,
    register: Register,
    resolution: Resolution,
    *,
    scope: Scope,
    version: int,
    cause: str,
    updated_at: str,
) -> Item:
    """`resolution` is the resolved state of `register`: it is stored, readable, beside the evidence."""
    return new_item(
        key,
        "register",
        version,
        updated_at=updated_at,
        cause=cause,
        account=scope.account,
        livemode=scope.livemode,
        **_summary(resolution),
        evidence=pack(register),
        **(_due(resolution) or _found_by_id(key, scope, resolution.state)),
    )


def _summary(resolution: Resolution) -> dict[str, Any]:
    state = resolution.state
    summary = {
        "object_type": state["object"],
        "object_id": state.get("id"),
        "customer_id": state.get("customer"),
        "status": state.get("status"),
        "deleted": True if resolution.deleted else None,
        "ambiguous": True if resolution.ambiguous else None,
    }
    return {name: value for name, value in summary.items() if value is not None}


def _due(resolution: Resolution) -> dict[str, str]:
    """Coalesced by nature: one object, one place in the index, gone when nothing is in doubt or left out."""
    if not (resolution.ambiguous or resolution.state.get("has_more")) or not fetchable(
        str(resolution.state.get("object"))
    ):
        return {}
    return {"gsi1pk": REFETCH_INDEX, "gsi1sk": rfc3339_of(resolution.second + REFETCH_DELAY)}


def _found_by_id(key: Key, scope: Scope, state: Projection) -> dict[str, str]:
    """Of a payment method that has a customer: Stripe names him no more once it is detached."""
    if state.get("object") != "payment_method" or "customer" not in state:
        return {}
    return {"gsi1pk": keys.stripe_object(scope.account, scope.livemode, str(state["id"])), "gsi1sk": key.sk}

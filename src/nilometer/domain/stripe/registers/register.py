"""The register of one Stripe object: the evidence of its newest seconds, merged by union.

`merge` is commutative, associative and idempotent: a register is the set of the elements of the newest seconds of
live and of terminal events, plus, of a subscription, the billing periods ever seen. Whatever order, duplication and
batching the events come in, the register is the same. What it means is said by `resolve`.

Of all but the newest second only digests stay: a set of seconds only grows, so a second that is not the newest
never becomes it, and its states can no more be the answer; they only show where the newer walk began.

Stored it is one compressed JSON document: most items have one kilobyte, because a write is billed by the kilobyte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nilometer.domain.store import compressed, keys
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import Object, Scope, StripeEvent, as_id, normalise, overlay
from nilometer.domain.stripe.registers.payments import PAYMENTS
from nilometer.domain.stripe.registers.projection import BILLED, NAMED, Projection, Unreadable, digest, of_unknown_type

SECONDS = 6  # of live and of terminal elements each
PERIODS = 24  # newest starts that a subscription remembers
REFETCH = "refetch"
OWNED = frozenset(
    {
        "customer",
        "subscription",
        "invoice",
        "subscription_schedule",
        "entitlements.active_entitlement_summary",
        "payment_method",
        "billing.credit_grant",
        "credit_note",
    }
)
"""Types of objects that never change their customer."""
FETCHED, _CREATED, _LATER, _DELETED = -1, 0, 1, 10_000_000
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_INVOICE_RANKS = {"draft": 0, "open": 1, "uncollectible": 2, "void": 3, "paid": 3}
_as_text = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_PROJECTIONS = {**BILLED, **PAYMENTS}
_TERMINAL = {
    "subscription": {"canceled", "incomplete_expired"},
    "invoice": {"paid", "void"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One event, or one answer of Stripe's API, about the object.

    `key` is a digest of the event's id and its identity. `post` and `pre` are digests of the state after and before
    it; `pre` is None without `previous_attributes`. `rank` says where in an object's life it stands and decides only
    between states that no edge connects. `id`, `type` and `state` are kept in the newest second only.
    """

    key: str
    second: int
    rank: int
    terminal: bool
    post: str
    pre: str | None = None
    id: str = ""
    type: str = ""
    state: Projection | None = None

    @property
    def created(self) -> bool:
        """Of a `*.created` event, which ranks before every other event of the object."""
        return self.rank == _CREATED

    @property
    def fetched(self) -> bool:
        """It is an answer of Stripe's API, no event."""
        return self.rank == FETCHED

    def bare(self) -> Element:
        """What of it matters once a newer second is known."""
        return replace(self, id="", type="", state=None)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest that was said of a period's end: in which second, and what."""

    second: int
    end: int


@dataclass(frozen=True, slots=True)
class Register:
    """A value. `elements` by id, in the canonical order of `_canonical`; `periods` by start."""

    elements: tuple[Element, ...] = ()
    periods: Mapping[int, Seen] = field(default_factory=dict)


def of_event(event: StripeEvent) -> Element:
    """What `event` says of its object."""
    deleted = event.type.endswith(".deleted") and event.object_type != "subscription"
    pre = None
    if event.previous is not None:
        pre = digest(_state(overlay(event.object, event.previous), event.api_version, deleted))
    return _element(event.id, event.type, event.created, _state(event.object, event.api_version, deleted), pre)


def of_answer(snapshot: Object | None, *, object_type: str, object_id: str, second: int) -> Element:
    """What Stripe's API said: `None` for 404. `second` is the server's time before the request was sent."""
    gone = snapshot is None or bool(snapshot.get("deleted"))
    known = {"id": object_id, "object": object_type} if snapshot is None or gone else snapshot
    state = _state(known, None, gone)
    return _element(f"{REFETCH}_{second}_{digest(state)}", REFETCH, second, state, None)


def _element(id_: str, type_: str, second: int, state: Projection, pre: str | None) -> Element:
    return Element(
        key=_key(id_),
        second=second,
        rank=_rank(type_, state),
        terminal=_terminal(state),
        post=digest(state),
        pre=pre,
        id=id_,
        type=type_,
        state=state,
    )


def _terminal(state: Projection) -> bool:
    return bool(state.get("deleted")) or state.get("status") in _TERMINAL.get(str(state.get("object")), ())


def _rank(type_: str, state: Projection) -> int:
    """Fetched < created < later < deleted; an invoice's status, then its attempts, in between."""
    if type_ == REFETCH:
        return FETCHED
    if state.get("deleted"):
        return _DELETED
    if type_.endswith(".created"):
        return _CREATED
    if state.get("object") == "invoice":
        attempts = min(int(state.get("attempt_count") or 0), 999)
        return _LATER + 1000 * _INVOICE_RANKS.get(str(state.get("status")), 1) + attempts
    return _LATER


def project(snapshot: Object) -> dict[str, Any]:
    """Of a normalised snapshot. An object of an unknown type keeps the fields that most types share."""
    kind = str(snapshot.get("object", ""))
    bad: Unreadable = []
    kept = {"id": as_id(snapshot.get("id")), "object": kind, **_PROJECTIONS.get(kind, of_unknown_type)(snapshot, bad)}
    if bad:
        kept["unreadable"] = sorted(set(bad))[:NAMED]
    return {name: value for name, value in kept.items() if value is not None and value != {}}


def register(elements: Iterable[Element]) -> Register:
    """Canonical: the same elements in any order, also repeated, make an equal register."""
    found = tuple(elements)
    return Register(_canonical(found), _newest_periods(_periods(found)))


def merge(left: Register, right: Register) -> Register:
    """The union of both, cut to the newest seconds."""
    periods = _newest_periods([*left.periods.items(), *right.periods.items()])
    return Register(_canonical((*left.elements, *right.elements)), periods)


def knows(register: Register, event_id: str) -> bool:
    """Whether one of its elements is the event."""
    return any(element.key == _key(event_id) for element in register.elements)


def without(register: Register, event_id: str) -> Register:
    """Without the event, but for the billing periods that it reported.

    When nothing newer is left whose state is kept, the older seconds go too: Stripe's answer takes their place.
    """
    kept = [one for one in register.elements if one.key != _key(event_id)]
    lanes = ([one for one in kept if one.terminal is terminal] for terminal in (False, True))
    told = [one for lane in lanes if lane and _newest(lane)[0].state is not None for one in lane]
    return replace(register, elements=_canonical(told))


def _key(event_id: str) -> str:
    return hashlib.sha256(event_id.encode()).hexdigest()[:10]


def _state(snapshot: Object, api_version: str | None, deleted: bool) -> Projection:
    state = project(normalise(snapshot, api_version))
    return {**state, "deleted": True} if deleted else state


def _canonical(elements: Iterable[Element]) -> tuple[Element, ...]:
    """One element an event (in two API versions: the greater digests), newest first, cut and bared."""
    unique: dict[str, Element] = {}
    for element in elements:
        known = unique.get(element.key)
        if known is None or _weight(element) > _weight(known):
            unique[element.key] = element
    if len(unique) == 1:
        return tuple(unique.values())
    kept = [*_newest(e for e in unique.values() if e.terminal), *_newest(e for e in unique.values() if not e.terminal)]
    return tuple(sorted(kept, key=lambda element: (-element.second, element.key)))


def _weight(element: Element) -> tuple[str, str, bool]:
    return element.post, element.pre or "", element.state is not None


def _newest(elements: Iterable[Element]) -> list[Element]:
    found = list(elements)
    seconds = sorted({element.second for element in found}, reverse=True)[:SECONDS]
    return [e if e.second == seconds[0] else e.bare() for e in found if e.second in seconds]


def _periods(elements: Iterable[Element]) -> list[tuple[int, Seen]]:
    """Of each subscription snapshot its period."""
    told = ((element.second, period_of(element.state or {})) for element in elements)
    return [(bounds[0], Seen(second, bounds[1])) for second, bounds in told if bounds]


def period_of(state: Projection) -> tuple[int, int] | None:
    """Begin and end of a subscription's period: that of the item with the shortest interval, for usage resets with it.
    Of items that renew in different intervals two periods may end together, so the end alone does not say which."""
    bounds = [
        (_interval(item), item["current_period_end"], item["current_period_start"])
        for item in state.get("items", ())
        if isinstance(item, Mapping) and "current_period_start" in item and "current_period_end" in item
    ]
    if not bounds:
        return None
    _, end, start = min(bounds)
    return int(start), int(end)


def _interval(item: Mapping[str, Any]) -> int:
    """About how many days it has; 0 when no price says it, as in API versions in which all items renew together."""
    return _DAYS.get(str(item.get("interval")), 0) * int(item.get("interval_count") or 1)


def _newest_periods(observed: Iterable[tuple[int, Seen]]) -> dict[int, Seen]:
    """Of each start the newest report, of all starts the newest."""
    found: dict[int, Seen] = {}
    for start, seen in observed:
        known = found.get(start)
        if known is None or (seen.second, seen.end) > (known.second, known.end):
            found[start] = seen
    return {start: found[start] for start in sorted(found, reverse=True)[:PERIODS]}


def pack(register: Register) -> bytes:
    """Equal registers give equal bytes. Older seconds are flat rows, the newest has its ids, types and states."""
    full = [element for element in register.elements if element.state is not None]
    document = {
        "e": [[e.second, e.key, e.rank, int(e.terminal), e.post, e.pre] for e in register.elements],
        "i": [[e.id, e.type] for e in full],
        "s": {element.post: element.state for element in full},
        "p": [[start, seen.second, seen.end] for start, seen in sorted(register.periods.items())],
    }
    return compressed.pack(_as_text(document).encode())


def unpack(evidence: bytes) -> Register:
    """The inverse of `pack`. Only elements of the newest second have an id, a type and a state."""
    return unpacked(json.loads(compressed.unpack(evidence)))


def unpacked(document: Mapping[str, Any]) -> Register:
    """A register from the document that its evidence is, also from one that is redacted."""
    newest = _newest_seconds(document["e"])
    named = iter(document["i"])
    elements = []
    for second, key, rank, terminal, post, pre in document["e"]:
        id_, type_, state = "", "", None
        if second == newest[terminal]:
            (id_, type_), state = next(named), document["s"][post]
        said = {"key": key, "second": second, "rank": rank, "terminal": bool(terminal), "post": post, "pre": pre}
        elements.append(Element(**said, id=id_, type=type_, state=state))
    periods = {start: Seen(second, end) for start, second, end in document["p"]}
    return Register(tuple(elements), dict(sorted(periods.items(), reverse=True)))


def _newest_seconds(rows: Iterable[Sequence[Any]]) -> dict[int, int]:
    """Of live (0) and terminal (1) elements; rows come newest first."""
    newest: dict[int, int] = {}
    for second, _, _, terminal, *_ in rows:
        newest.setdefault(terminal, second)
    return newest


def register_of(item: Item | None) -> Register:
    """An empty register when nothing is stored."""
    return unpack(item["evidence"]) if item else Register()


def register_key(scope: Scope, object_type: str, object_id: str, customer_id: str | None) -> Key:
    """With its customer only when the object can never have another one, so that its key never changes."""
    owner = customer_id if object_type in OWNED else None
    return keys.register(scope.account, scope.livemode, object_type, object_id, owner)

"""The workspace of a Stripe customer: claims of objects and operators, the resulting link, and which customers count.

A claim is a function of its object's register, and the link a function of the set of claims: whatever order they come
in, also two that contradict, it is the same. An operator's claim is above all others; of several the newest holds.

Claims are ranked by who can write them. Metadata is the platform's own; `client_reference_id` is a parameter in the
URL of a Payment Link, so a buyer can write it, and it is never a proof by itself:

    metadata of the platform, an operator ──▶ counts
    `client_reference_id` of a buyer      ──▶ counts when no other customer named the workspace before it,
                                              else it is a conflict: nothing of it counts until an operator decides

"Before" is a time of Stripe's, which nobody chooses: when the object that makes the claim was created.
Source: https://docs.stripe.com/payment-links/url-parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from nilometer.domain.billing.group import Claim, Group, Known, Merged, View, Views
from nilometer.domain.billing.record.inputs import Inputs, has_base, inputs_of
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Check, Item, Put, Table, Write, new_item, version_after, version_of
from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import Register
from nilometer.domain.stripe.registers.resolve import Resolution
from nilometer.errors import Misconfigured

CLAIMING = frozenset({"customer", "checkout.session", "subscription"})
_SCOPE = re.compile(r"[^\s/]+/(live|test)")
NAMED = 20  # conflicts that a record names, the oldest first
SESSIONS = 20  # Checkout sessions whose claims a link keeps, the oldest of each rank: only the oldest can decide
_OF_SUBSCRIPTIONS = frozenset({"subscription", "invoice", "subscription_schedule"})
OPERATOR = "operator"  # the name among a link's claims that no object of Stripe has

T = TypeVar("T")


class Rank(IntEnum):
    """Who wrote the claim; the least is the best."""

    OPERATOR = -1
    CUSTOMER = 0  # metadata of the customer
    OLD_SESSION = 1  # of a session that was read before its two sources were kept apart
    SUBSCRIPTION = 2  # metadata of the subscription
    SESSION = 3  # metadata of the Checkout session
    REFERENCE = 4  # `client_reference_id` of the session


WRITERS: Mapping[int, str] = {
    Rank.OPERATOR: "an operator",
    Rank.CUSTOMER: "metadata of the customer",
    Rank.OLD_SESSION: "Checkout session",
    Rank.SUBSCRIPTION: "metadata of the subscription",
    Rank.SESSION: "metadata of the Checkout session",
    Rank.REFERENCE: "client_reference_id, which a buyer can write",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """The scopes whose objects may name workspaces, "account/mode" each; `*` stands for any account.

    An operator's claim holds in every scope.
    """

    scopes: frozenset[str] = frozenset({f"{OWN_ACCOUNT}/live", f"{OWN_ACCOUNT}/test"})

    def names(self, scope: Scope) -> bool:
        """Whether a scope may name workspaces: by itself, or by its mode in every account."""
        return not self.scopes.isdisjoint({str(scope), f"*/{str(scope).rpartition('/')[2]}"})


def trust_of(text: str) -> Trust:
    """Of scopes with spaces or commas between them; `Misconfigured` for what is none."""
    scopes = frozenset(text.replace(",", " ").split())
    if wrong := sorted(one for one in scopes if not _SCOPE.fullmatch(one)):
        raise Misconfigured(f"{', '.join(wrong)}: a scope is an account and a mode, as in self/live or acct_1/test")
    return Trust(scopes)


def claim_of(register: Register, resolution: Resolution | None) -> Claim | None:
    """What an object says now; of a deleted one that left no metadata, what it said last."""
    if resolution is None:
        return None
    told = claim(resolution.state)
    if told or not resolution.deleted:
        return told
    return next((found for element in register.elements if (found := claim(element.state or {}))), None)


def claim(state: Projection) -> Claim | None:
    """What a state says of its customer's workspace: `metadata.workspace_id` or `client_reference_id`."""
    match state.get("object"):
        case "customer":
            rank, workspace_id = Rank.CUSTOMER, state.get("workspace_id")
        case "checkout.session" if state.get("customer") and state.get("workspace_id"):
            rank, workspace_id = Rank.SESSION, state["workspace_id"]
        case "checkout.session" if state.get("customer"):
            rank, workspace_id = Rank.REFERENCE, state.get("client_reference_id")
        case "subscription":
            rank, workspace_id = Rank.SUBSCRIPTION, state.get("workspace_id")
        case _:
            return None
    return Claim(int(rank), int(state.get("created") or 0), str(state["id"]), workspace_id) if workspace_id else None


def operator_claim(workspace_id: str, *, at: datetime, origin: str) -> Claim:
    """An operator's claim. `origin` (source and id of its event) orders claims of the same millisecond."""
    return Claim(int(Rank.OPERATOR), epoch(at) * 1000 + at.microsecond // 1000, origin, workspace_id)


def with_operator_claim(claims: Mapping[str, Claim], said: Claim) -> dict[str, Claim]:
    """The newest operator's claim stays, in whatever order they come."""
    known = claims.get(OPERATOR)
    newest = said if known is None else max(known, said, key=lambda claim: (claim.created, claim.object_id))
    return {**claims, OPERATOR: newest}


def best(claims: Mapping[str, Claim]) -> str | None:
    """The workspace; None as long as nobody claims the customer."""
    return min(claims.values()).workspace_id if claims else None


class Served(NamedTuple):
    """The workspace that a customer pays for; None: nobody has said it yet.

    `subscriptions` names those that pay for another one, by their own metadata.
    """

    workspace_id: str | None
    subscriptions: Mapping[str, str]

    @property
    def homes(self) -> tuple[str | None, ...]:
        """The workspaces whose records hold a part of the customer; None stands for a record of its own."""
        return tuple(dict.fromkeys((self.workspace_id, *self.subscriptions.values())))

    def of(self, object_id: str | None) -> str | None:
        """The workspace that a subscription pays for, or any other object."""
        return self.subscriptions.get(object_id or "", self.workspace_id)

    def part(self, views: Views, workspace_id: str | None) -> Views:
        """What the record of one workspace holds: its subscriptions with their invoices and schedules, and all that
        is the customer's as a whole."""
        if not self.subscriptions:
            return views
        return {name: view for name, view in views.items() if self._belongs(name, view, workspace_id)}

    def _belongs(self, name: str, view: View, workspace_id: str | None) -> bool:
        if view["object"] not in _OF_SUBSCRIPTIONS:
            return True
        return self.of(name if view["object"] == "subscription" else view.get("subscription")) == workspace_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A customer's link before and after the evidence of a group: `stored` is its item as read.

    `claims` are those after, each a `Claim` or as it is stored. `moves`: the evidence changes them, or whom it serves.
    """

    stored: Item | None
    claims: Mapping[str, Any]
    moves: bool
    trusted: bool
    before: Served
    after: Served

    def claim_to(self, workspace_id: str | None) -> Claim | None:
        """The best claim to one of its workspaces; None in a record of its own."""
        counted = [told for told in _counted(self.claims, trusted=self.trusted) if told[-1] == workspace_id]
        return Claim(*min(counted)) if counted else None

    @property
    def refused(self) -> list[str]:
        """The workspaces that objects of a scope name which may not name any."""
        if self.trusted:
            return []
        return sorted({str(told[-1]) for name, told in self.claims.items() if name != OPERATOR})


def linked(group: Group, known: Known, registers: Sequence[Merged]) -> Linked:
    """All that is claimed: what other objects said, and what those of this group say now."""
    stored = known[group.link_key]
    before = Served(stored["workspace_id"], stored.get("subscriptions", {})) if stored else Served(None, {})
    trusted = _is_trusted(group, stored)
    said = {one.object_id: claim_of(one.after, one.resolution) for one in registers if one.object_type in CLAIMING}
    if stored and not group.operator_claim and trusted == _was_trusted(stored) and _says(stored, said):
        claims = stored.get("claims", {})
        return Linked(stored=stored, claims=claims, moves=False, trusted=trusted, before=before, after=before)
    claimed = claims_of(stored)
    claims = {name: told for name, told in {**claimed, **said}.items() if told}
    if group.operator_claim:
        claims = with_operator_claim(claims, group.operator_claim)
    claims = _kept(claims)
    after = served(claims, trusted=trusted)
    moves = claims != claimed or before != after
    return Linked(stored=stored, claims=claims, moves=moves, trusted=trusted, before=before, after=after)


def _says(link: Item, said: Mapping[str, Claim | None]) -> bool:
    """Whether the link has these claims already: then nothing of it is read, however many it has."""
    stored = link.get("claims", {})
    return all(stored.get(name) == (list(told) if told else None) for name, told in said.items())


def _kept(claims: dict[str, Claim]) -> dict[str, Claim]:
    """Without the sessions that are too many: a customer may buy by Checkout every day, and a link is one item."""
    if len(claims) <= SESSIONS:
        return claims
    ranks = (Rank.OLD_SESSION, Rank.SESSION, Rank.REFERENCE)
    of_ranks = (sorted((claim, name) for name, claim in claims.items() if claim.rank == rank) for rank in ranks)
    dropped = {name for of_rank in of_ranks for _, name in of_rank[SESSIONS:]}
    return {name: claim for name, claim in claims.items() if name not in dropped}


def served(claims: Mapping[str, Claim], *, trusted: bool = True) -> Served:
    """A customer whose own metadata, or an operator, names its workspace pays for that one alone; else each
    subscription for the one that it names, and the rest for the best claim's."""
    counted = _counted(claims, trusted=trusted)
    if not counted:
        return Served(None, {})
    first = min(counted)
    if first.rank <= Rank.CUSTOMER:
        return Served(first.workspace_id, {})
    own = (claim for claim in counted if claim.rank == Rank.SUBSCRIPTION and claim.workspace_id != first.workspace_id)
    return Served(first.workspace_id, {claim.object_id: claim.workspace_id for claim in own})


def _counted(claims: Mapping[str, T], *, trusted: bool) -> list[T]:
    """In a scope that may not name workspaces only an operator's claim counts."""
    return [claim for name, claim in claims.items() if trusted or name == OPERATOR]


def _is_trusted(group: Group, stored: Item | None) -> bool:
    if group.trusted is not None:
        return group.trusted
    return _was_trusted(stored) if stored else group.scope.account == OWN_ACCOUNT


def _was_trusted(link: Item) -> bool:
    return bool(link.get("trusted", True))


def link_writes(group: Group, link: Linked) -> Iterator[Write]:
    """A link that moves is written. A customer that nobody has linked must still be unlinked, and one that pays for
    several workspaces must still pay for the same."""
    if link.moves:
        yield Put(table=Table.RECORDS, item=_link_item(group, link), expected=version_of(link.stored))
    elif link.after.workspace_id is None or link.after.subscriptions:
        yield Check(table=Table.RECORDS, key=group.link_key, expected=version_of(link.stored))


def claims_of(link: Item | None) -> dict[str, Claim]:
    """By the id of the object that claims; an operator's under `OPERATOR`."""
    return {name: Claim(*told) for name, told in (link or {}).get("claims", {}).items()}


def _link_item(group: Group, link: Linked) -> Item:
    return new_item(
        group.link_key,
        "link",
        version_after(link.stored),
        updated_at=group.updated_at,
        cause=group.cause,
        actor=group.said_by,
        account=group.scope.account,
        livemode=group.scope.livemode,
        customer_id=str(group.customer_id),
        workspace_id=link.after.workspace_id,
        claims={name: list(claim) for name, claim in sorted(link.claims.items())},
        **({"subscriptions": dict(sorted(link.after.subscriptions.items()))} if link.after.subscriptions else {}),
        **({} if link.trusted else {"trusted": False}),
    )


def admitted(inputs: Inputs) -> Mapping[str, Views]:
    """The customers that count, with their views."""
    contested = set(_contested(inputs)) if any(is_weak(inputs, name) for name in inputs.claims) else set()
    return {name: views for name, views in inputs.customers.items() if name not in contested}


def conflicts(inputs: Inputs) -> list[dict[str, Any]]:
    """One a customer that does not count: `customer`, `claimed_by`, `object`, `created`."""
    named = sorted(_contested(inputs), key=lambda name: _age(inputs, name))[:NAMED]
    return [
        {
            "customer": name,
            "claimed_by": WRITERS[int(inputs.claims[name][0])],
            "object": inputs.claims[name][2],
            "created": int(inputs.claims[name][1]),
        }
        for name in named
    ]


def _contested(inputs: Inputs) -> list[str]:
    oldest = min((_age(inputs, name) for name in inputs.customers), default=None)
    return [name for name in inputs.customers if is_weak(inputs, name) and _age(inputs, name) != oldest]


def is_weak(inputs: Inputs, name: str) -> bool:
    """Whether nothing but what a buyer can write links the customer."""
    return name in inputs.claims and int(inputs.claims[name][0]) >= Rank.REFERENCE


def _age(inputs: Inputs, name: str) -> tuple[int, str, str]:
    """Of a customer that was linked before claims were kept here, nothing is older."""
    _, created, object_id = inputs.claims.get(name, (0, 0, ""))
    return int(created), str(object_id), name


def payer(record: Item | None) -> str | None:
    """The customer that usage is billed to, "account/mode/customer": the effective subscription's, else the first."""
    if record is None:
        return None
    customers = admitted(inputs_of(record))
    owners = (name for name in sorted(customers) if has_base(customers[name], record.get("subscription")))
    return next(owners, min(customers, default=None))

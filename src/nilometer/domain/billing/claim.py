"""What an object of Stripe, or an operator, says of the workspace that a customer pays for.

A claim is a function of its object's register, and the best claim a function of the set of claims: whatever
order they come in, also two that contradict, the link is the same. An operator's claim is above all others;
of several the newest holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from nilometer.domain.store.times import epoch
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import Register
from nilometer.domain.stripe.registers.resolve import Resolution

CLAIMING = frozenset({"customer", "checkout.session", "subscription"})
OPERATOR = "operator"  # the name among a link's claims that no object of Stripe has


class Claim(NamedTuple):
    """Ordered: the first is the best. Of two equally good the older object's."""

    rank: int
    created: int
    object_id: str
    workspace_id: str


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
            rank, workspace_id = 0, state.get("workspace_id")
        case "checkout.session" if state.get("customer"):
            rank, workspace_id = 1, state.get("workspace_id") or state.get("client_reference_id")
        case "subscription":
            rank, workspace_id = 2, state.get("workspace_id")
        case _:
            return None
    return Claim(rank, int(state.get("created") or 0), str(state["id"]), workspace_id) if workspace_id else None


def word(workspace_id: str, *, at: datetime, origin: str) -> Claim:
    """An operator's. `origin` (source and id of what said it) orders the words of one millisecond."""
    return Claim(-1, epoch(at) * 1000 + at.microsecond // 1000, origin, workspace_id)


def with_word(claims: Mapping[str, Claim], said: Claim) -> dict[str, Claim]:
    """The newest word stays, in whatever order they come."""
    known = claims.get(OPERATOR)
    newest = said if known is None else max(known, said, key=lambda claim: (claim.created, claim.object_id))
    return {**claims, OPERATOR: newest}


def best(claims: Mapping[str, Claim]) -> str | None:
    """The workspace; None as long as nobody claims the customer."""
    return min(claims.values()).workspace_id if claims else None

"""What an object of Stripe, or an operator, says of the workspace that a customer pays for.

A claim is a function of its object's register, and the best claim a function of the set of claims: whatever
order they come in, also two that contradict, the link is the same. An operator's claim is above all others;
of several the newest holds.

Claims are ranked by who can write them. Metadata is the platform's own; `client_reference_id` is a parameter in the
URL of a Payment Link, so a buyer can write it, and it is never a proof by itself (`record.conflict`).
Source: https://docs.stripe.com/payment-links/url-parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from nilometer.domain.store.times import epoch
from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import Register
from nilometer.domain.stripe.registers.resolve import Resolution
from nilometer.errors import Misconfigured

CLAIMING = frozenset({"customer", "checkout.session", "subscription"})
_SCOPE = re.compile(r"[^\s/]+/(live|test)")
OPERATOR = "operator"  # the name among a link's claims that no object of Stripe has


class Rank(IntEnum):
    """Who wrote the claim; the least is the best."""

    OPERATOR = -1
    CUSTOMER = 0  # metadata of the customer
    OLD_SESSION = 1  # of a session that was read before its two sources were told apart
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


def word(workspace_id: str, *, at: datetime, origin: str) -> Claim:
    """An operator's. `origin` (source and id of what said it) orders the words of one millisecond."""
    return Claim(int(Rank.OPERATOR), epoch(at) * 1000 + at.microsecond // 1000, origin, workspace_id)


def with_word(claims: Mapping[str, Claim], said: Claim) -> dict[str, Claim]:
    """The newest word stays, in whatever order they come."""
    known = claims.get(OPERATOR)
    newest = said if known is None else max(known, said, key=lambda claim: (claim.created, claim.object_id))
    return {**claims, OPERATOR: newest}


def best(claims: Mapping[str, Claim]) -> str | None:
    """The workspace; None as long as nobody claims the customer."""
    return min(claims.values()).workspace_id if claims else None

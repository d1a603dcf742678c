"""The link of a Stripe customer: which workspaces it pays for, by all that its objects and operators claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nilometer.domain.billing.claim import CLAIMING, OPERATOR, Claim, Rank, claim_of, with_word
from nilometer.domain.billing.group import Group, Known
from nilometer.domain.billing.record.inputs import Views
from nilometer.domain.billing.registers import Merged
from nilometer.domain.store.writes import Check, Item, Put, Table, Write, new_item, version_after, version_of
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.domain.stripe.registers.view import View

_OF_SUBSCRIPTIONS = frozenset({"subscription", "invoice", "subscription_schedule"})


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
    """A customer's link before and after the evidence of a group; `stored` is its item as it was read."""

    stored: Item | None
    claims: Mapping[str, Claim]
    trusted: bool
    before: Served
    after: Served

    @property
    def moves(self) -> bool:
        """Whether the evidence changes the stored link: its claims, or the workspaces that it serves."""
        return self.claims != claims_of(self.stored) or self.before != self.after

    def claim_to(self, workspace_id: str | None) -> Claim | None:
        """The best claim to one of its workspaces; None in a record of its own."""
        counted = _counted(self.claims, trusted=self.trusted)
        return min((claim for claim in counted if claim.workspace_id == workspace_id), default=None)

    @property
    def refused(self) -> list[str]:
        """The workspaces that objects of a scope name which may not name any."""
        if self.trusted:
            return []
        return sorted({claim.workspace_id for name, claim in self.claims.items() if name != OPERATOR})


def linked(group: Group, known: Known, registers: Sequence[Merged]) -> Linked:
    """All that is claimed: what other objects said, and what those of this group say now."""
    stored = known[group.link_key]
    claims = claims_of(stored)
    for one in registers:
        found = claim_of(one.after, one.resolution)
        if found:
            claims[one.object_id] = found
        elif one.object_type in CLAIMING:
            claims.pop(one.object_id, None)
    if group.word:
        claims = with_word(claims, group.word)
    before = Served(stored["workspace_id"], stored.get("subscriptions", {})) if stored else Served(None, {})
    trusted = _is_trusted(group, stored)
    return Linked(stored=stored, claims=claims, trusted=trusted, before=before, after=served(claims, trusted=trusted))


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


def _counted(claims: Mapping[str, Claim], *, trusted: bool) -> list[Claim]:
    """In a scope that may not name workspaces only an operator's claim counts."""
    return [claim for name, claim in claims.items() if trusted or name == OPERATOR]


def _is_trusted(group: Group, stored: Item | None) -> bool:
    if group.trusted is not None:
        return group.trusted
    return bool(stored.get("trusted", True)) if stored else group.scope.account == OWN_ACCOUNT


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

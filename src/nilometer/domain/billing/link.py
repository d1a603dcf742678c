"""The link of a Stripe customer: which workspaces it pays for, by all that its objects and operators claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nilometer.domain.billing.claim import CLAIMING, Claim, best, claim_of, with_word
from nilometer.domain.billing.group import Group, Known
from nilometer.domain.billing.registers import Merged
from nilometer.domain.store.writes import Check, Item, Put, Table, Write, version_of


class Served(NamedTuple):
    """The workspace that a customer pays for; None: nobody has said it yet."""

    workspace_id: str | None

    @property
    def homes(self) -> tuple[str | None, ...]:
        """The workspaces whose records hold a part of the customer; None stands for a record of its own."""
        return (self.workspace_id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A customer's link before and after the evidence of a group; `stored` is its item as it was read."""

    stored: Item | None
    claims: Mapping[str, Claim]
    before: Served
    after: Served

    @property
    def moves(self) -> bool:
        return self.claims != claims_of(self.stored) or self.before != self.after


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
    before = Served(stored["workspace_id"] if stored else None)
    return Linked(stored=stored, claims=claims, before=before, after=Served(best(claims)))


def link_writes(group: Group, link: Linked) -> Iterator[Write]:
    """A link that moves is written. A customer that nobody has linked must still be unlinked."""
    if link.moves:
        yield Put(table=Table.RECORDS, item=_link_item(group, link), expected=version_of(link.stored))
    elif link.after.workspace_id is None:
        yield Check(table=Table.RECORDS, key=group.link_key, expected=version_of(link.stored))


def claims_of(link: Item | None) -> dict[str, Claim]:
    """By the id of the object that claims; an operator's under `OPERATOR`."""
    return {name: Claim(*told) for name, told in (link or {}).get("claims", {}).items()}


def _link_item(group: Group, link: Linked) -> Item:
    key = group.link_key
    return {
        "pk": key.pk,
        "sk": key.sk,
        "kind": "link",
        "version": int(link.stored["version"]) + 1 if link.stored else 1,
        "updated_at": group.updated_at,
        "cause": group.cause,
        "actor": group.said_by,
        "account": group.scope.account,
        "livemode": group.scope.livemode,
        "customer_id": str(group.customer_id),
        "workspace_id": link.after.workspace_id,
        "claims": {name: list(claim) for name, claim in sorted(link.claims.items())},
    }

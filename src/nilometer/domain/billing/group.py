"""A group: the events that must be decided together, those of one customer, or of one object without a customer.

What a group says a second time changes nothing, so an event whose fact was not stored may come again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from nilometer.domain.billing.claim import Claim
from nilometer.domain.billing.record import risk
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.registers.item import register_key
from nilometer.domain.stripe.registers.projection import Projection
from nilometer.domain.stripe.registers.register import Element
from nilometer.errors import Unavailable

Known = Mapping[Key, Item | None]
"""What was read, by key; None: nothing is stored."""


class Torn(Unavailable):
    """Items that were read one by one contradict each other: read them again, consistently."""


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
    def event_id(self) -> str:
        """`evt_...`, or the element's own id for an answer of Stripe's API; empty without a fact and an element."""
        return str(self.fact["event_id"]) if self.fact else self.element.id if self.element else ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """`word` is what an operator says of the customer's workspace, `said_in` the event's id, `said_by` its source.

    `trusted`: whether objects of the scope may name workspaces; None: as it was when the link was written, at first
    those of the platform's own account. `dropped` is the id of an event that an operator takes out.
    """

    scope: Scope
    customer_id: str | None
    evidence: tuple[Evidence, ...]
    updated_at: str
    trusted: bool | None = None
    dropped: str | None = None
    word: Claim | None = None
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
        return risk.charges(self.scope, (one.state for one in self.evidence))

    @property
    def link_key(self) -> Key:
        """The link of the group's customer in the records table. Only for a group that has a customer."""
        return keys.link(self.scope.account, self.scope.livemode, str(self.customer_id))

    def with_owner(self, known: Known) -> Group:
        """The customer of a dispute is that of its charge; `known` has `charges`."""
        owner = next((found for key in self.charges if (found := risk.owner(known[key]))), None)
        return replace(self, customer_id=owner) if owner else self

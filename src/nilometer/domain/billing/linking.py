"""An operator says whose customer a Stripe customer is."""

from __future__ import annotations

from dataclasses import dataclass

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Deed, Id, Stored
from nilometer.domain.billing.group import Group, Known
from nilometer.domain.billing.link import OPERATOR, claims_of, operator_claim
from nilometer.domain.billing.plan import Plan
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, Write
from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.errors import Refused


@dataclass(frozen=True, kw_only=True)
class LinkCustomer(Deed[None]):
    """A Stripe customer is billed for the workspace: this holds against the metadata of Stripe's objects.

    Of the library doing it again changes nothing. Only services and operators may.
    """

    customer: Id
    account: Id = OWN_ACCOUNT
    livemode: bool = True

    def reads(self, act: Act) -> set[Key]:
        return Plan(self._group(act), {}).keys

    def follows(self, act: Act, known: Known) -> set[Key]:
        return Plan(self._group(act), known).keys

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        if act.caller.role is not None:
            raise Refused("only services and operators say whose customer it is")
        group = self._group(act)
        claim = claims_of(stored.get(group.link_key)).get(OPERATOR)
        if not act.is_event and claim and claim.workspace_id == act.workspace_id:
            return []
        known: dict[Key, Item | None] = {}
        plan = Plan(group, known)
        while plan.missing:  # `follows` has asked for the same, so what is not in `stored` is nowhere
            known |= {key: stored.get(key) for key in plan.missing}
            plan = Plan(group, known)
        if plan.prepares:
            raise Refused(
                "the customer's prices are too many for one step; name the workspace in its metadata at Stripe"
            )
        return [*(Put(table=Table.RECORDS, item=use) for use in plan.uses()), *plan.writes()]

    def _group(self, act: Act) -> Group:
        at = rfc3339(act.happened)
        who = act.caller.user_id
        return Group(
            scope=Scope(account=self.account, livemode=self.livemode),
            customer_id=self.customer,
            evidence=(),
            updated_at=rfc3339(act.now),
            operator_claim=operator_claim(
                act.workspace_id, at=act.happened, origin=f"{who} {act.cause}" if act.cause else who
            ),
            said_in=act.cause or f"{who} {at}",
            said_by=who,
        )

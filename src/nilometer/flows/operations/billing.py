"""The event type about billing of the workspace that is the subject: an operator says whose customer it is."""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.claim import OPERATOR, word
from nilometer.domain.billing.group import Group, Known
from nilometer.domain.billing.link import claims_of
from nilometer.domain.billing.plan import Plan
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, Write
from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.flows.billing.refetch import commit_group
from nilometer.flows.inbox.types import Data, Id, Operation, OperationType, OperationTypes, Stored


class BillingLinked(Data):
    """A Stripe customer is billed for the workspace: this holds against the metadata of Stripe's objects."""

    customer: Id
    account: Id = OWN_ACCOUNT
    livemode: bool = True


def link_customer(
    store: Store, workspace_id: str, customer_id: str, *, scope: Scope, origin: str, now: datetime
) -> None:
    """The same without an event. Doing it again changes nothing. `origin` names who says it.

    `Refused` when the workspace is not known or deleted.
    """
    check_open(store.get(Table.RECORDS, keys.workspace(workspace_id), consistent=True), workspace_id)
    link = store.get(Table.RECORDS, keys.link(scope.account, scope.livemode, customer_id), consistent=True)
    known = claims_of(link).get(OPERATOR)
    if known is None or known.workspace_id != workspace_id:
        said = word(workspace_id, at=now, origin=origin)
        commit_group(
            store,
            Group(
                scope=scope,
                customer_id=customer_id,
                evidence=(),
                updated_at=rfc3339(now),
                word=said,
                said_in=f"{origin} {rfc3339(now)}",
                said_by=origin,
            ),
        )


def _group(operation: Operation, now: datetime) -> Group:
    event, data = operation.event, operation.data
    return Group(
        scope=Scope(account=data.get("account", OWN_ACCOUNT), livemode=data.get("livemode", True)),
        customer_id=data["customer"],
        evidence=(),
        updated_at=rfc3339(now),
        word=word(operation.workspace_id, at=event.time, origin=f"{event.source} {event.id}"),
        said_in=event.id,
        said_by=event.source,
    )


def _reads(operation: Operation) -> set[Key]:
    return {keys.workspace(operation.workspace_id), *Plan(_group(operation, operation.event.time), {}).keys}


def _follows(operation: Operation, known: Known) -> set[Key]:
    return Plan(_group(operation, operation.event.time), known).keys


def _decides(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    check_open(stored.get(keys.workspace(operation.workspace_id)), operation.workspace_id)
    known: dict[Key, Item | None] = {}
    plan = Plan(_group(operation, now), known)
    while plan.missing:  # `_follows` has asked for the same, so what is not in `stored` is nowhere
        known |= {key: stored.get(key) for key in plan.missing}
        plan = Plan(_group(operation, now), known)
    return [*(Put(table=Table.RECORDS, item=use) for use in plan.uses()), *plan.writes()]


TYPES: OperationTypes = {
    "billing.linked.v1": OperationType(data=BillingLinked, reads=_reads, follows=_follows, decide=_decides),
}

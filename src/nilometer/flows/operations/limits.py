"""The event types about the own limits of the workspace that is the subject."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from nilometer.domain.acts.origin import of_event
from nilometer.domain.limits import own as own_limits
from nilometer.domain.limits.own import OwnLimit
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Id, Instant, Operation, OperationType, OperationTypes, Slug, Stored

Amount = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?$", description="A decimal string")]
Threshold = Annotated[int, msgspec.Meta(ge=1, description="Percent of what is included")]


class Rule(Data):
    """A limit of a meter, or the fields of it that differ from the plan's; null is unlimited."""

    included: Amount | msgspec.UnsetType | None = msgspec.UNSET
    soft: Amount | msgspec.UnsetType | None = msgspec.UNSET
    hard: Amount | msgspec.UnsetType | None = msgspec.UNSET
    overage: Literal["allow", "block"] | msgspec.UnsetType = msgspec.UNSET
    grace: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,6} ?[hd]?$")] | msgspec.UnsetType = msgspec.UNSET
    thresholds: list[Threshold] | msgspec.UnsetType = msgspec.UNSET


class LimitOverridden(Data):
    """A meter's limit differs from the plan's in one workspace; `limit` null takes that back."""

    meter: Slug
    limit: Rule | None
    ends_at: Instant | None = None
    actor: Id | None = None


class LimitGranted(Data):
    """More of a meter than plan or override give, under the grant's own id; `amount` null takes it back."""

    meter: Slug
    grant: Id
    amount: Amount | None
    ends_at: Instant | None = None
    actor: Id | None = None


def _said(operation: Operation) -> OwnLimit:
    data = operation.data
    ends_at = parse_rfc3339(data["ends_at"]) if data.get("ends_at") else None
    if "grant" in data:
        return own_limits.new_grant(
            operation.workspace_id, data["meter"], data["grant"], data["amount"], ends_at=ends_at
        )
    return own_limits.new_override(operation.workspace_id, data["meter"], data["limit"], ends_at=ends_at)


def _reads(operation: Operation) -> list[Key]:
    return [_said(operation).key, keys.workspace(operation.workspace_id)]


def _decides(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    check_open(stored.get(keys.workspace(operation.workspace_id)), operation.workspace_id)
    said = _said(operation)
    origin = of_event(operation.event, actor=operation.data.get("actor"))
    put = own_limits.change(stored.get(said.key), said, origin=origin, now=now)
    return [put] if put else []


TYPES: OperationTypes = {
    "limit.overridden.v1": OperationType(data=LimitOverridden, reads=_reads, decide=_decides),
    "limit.granted.v1": OperationType(data=LimitGranted, reads=_reads, decide=_decides),
}

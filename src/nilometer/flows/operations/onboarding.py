"""The event type about tutorials in the workspace that is the subject."""

from __future__ import annotations

from datetime import datetime

from nilometer.domain.acts.origin import of_event
from nilometer.domain.people import onboarding
from nilometer.domain.people.onboarding import Advance, Mark
from nilometer.domain.people.workspace import check_open
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Id, Operation, OperationType, OperationTypes, Slug, Stored


class OnboardingAdvanced(Data):
    """A member did a step of a tutorial, or restarted, dismissed or completed it: give a step or a mark."""

    user_id: Id
    tutorial: Slug
    step: Slug | None = None
    mark: Mark | None = None


def _advance(operation: Operation) -> Advance:
    data = operation.data
    return onboarding.new_advance(
        operation.workspace_id,
        data["user_id"],
        tutorial=data["tutorial"],
        at=operation.event.time,
        step=data.get("step"),
        mark=data.get("mark"),
    )


def _reads(operation: Operation) -> list[Key]:
    return [_advance(operation).key, keys.workspace(operation.workspace_id)]


def _decides(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    check_open(stored.get(keys.workspace(operation.workspace_id)), operation.workspace_id)
    said = _advance(operation)
    origin = of_event(operation.event, actor=said.user_id)
    return onboarding.advance(stored.get(said.key), said, origin=origin, now=now)


TYPES: OperationTypes = {
    "onboarding.advanced.v1": OperationType(data=OnboardingAdvanced, reads=_reads, decide=_decides),
}

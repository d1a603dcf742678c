"""The event types about policies. A version is for everybody; who accepted may say in which workspace (the subject)."""

from __future__ import annotations

from datetime import datetime

from nilometer.domain import policy
from nilometer.domain.origin import of_event
from nilometer.domain.policy import Acceptance, PolicyVersion
from nilometer.domain.times import parse_rfc3339
from nilometer.domain.writes import Key, Write
from nilometer.flows.operation_types import Data, Operation, OperationType, OperationTypes, Stored


class PolicyPublished(Data):
    """A version of a policy exists, in force from a day."""

    policy: str
    version: int
    url: str
    content_sha256: str
    effective_at: str
    material: bool = True
    actor: str | None = None


class PolicyAccepted(Data):
    """A user accepted a version of a policy."""

    user_id: str
    policy: str
    version: int
    ip_hash: str | None = None
    user_agent: str | None = None


def _version(operation: Operation) -> PolicyVersion:
    data = operation.data
    return policy.new_version(
        data["policy"],
        data["version"],
        url=data["url"],
        content_sha256=data["content_sha256"],
        effective_at=parse_rfc3339(data["effective_at"]),
        material=data.get("material", True),
    )


def _reads_version(operation: Operation) -> list[Key]:
    return [_version(operation).key]


def _decides_version(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    version = _version(operation)
    origin = of_event(operation.event, actor=operation.data.get("actor"))
    return policy.publish(stored.get(version.key), version, origin=origin, now=now)


def _acceptance(operation: Operation) -> Acceptance:
    data, event = operation.data, operation.event
    return policy.new_acceptance(
        data["user_id"],
        data["policy"],
        data["version"],
        at=event.time,
        ip_hash=data.get("ip_hash"),
        user_agent=data.get("user_agent"),
        workspace_id=event.subject,
    )


def _reads_acceptance(operation: Operation) -> tuple[Key, ...]:
    return policy.accept_reads(_acceptance(operation))


def _decides_acceptance(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    said = _acceptance(operation)
    return policy.accept(stored, said, origin=of_event(operation.event, actor=said.user_id), now=now)


TYPES: OperationTypes = {
    "policy.published.v1": OperationType(
        data=PolicyPublished, reads=_reads_version, decide=_decides_version, has_workspace=False
    ),
    "policy.accepted.v1": OperationType(
        data=PolicyAccepted, reads=_reads_acceptance, decide=_decides_acceptance, has_workspace=False
    ),
}

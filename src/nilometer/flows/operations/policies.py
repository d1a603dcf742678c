"""The event types about policies. A version is for everybody; who accepted may say in which workspace (the subject)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from nilometer.domain.acts.origin import of_event
from nilometer.domain.people import policy
from nilometer.domain.people.policy import Acceptance, Policy, PolicyVersion
from nilometer.domain.store.times import parse_rfc3339
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Id, Instant, Operation, OperationType, OperationTypes, Sha256, Stored

Number = Annotated[int, msgspec.Meta(ge=1, le=policy.LARGEST_VERSION)]
Url = Annotated[str, msgspec.Meta(pattern="^https://", max_length=policy.URL_LENGTH)]


class PolicyPublished(Data):
    """A version of a policy has its text, for good; unless it is `material`, nobody has to accept again."""

    policy: Policy
    version: Number
    url: Url
    content_sha256: Sha256
    effective_at: Instant
    material: bool = True
    actor: Id | None = None


class PolicyAccepted(Data):
    """A person accepted a version of a policy; of his address there is a keyed hash."""

    user_id: Id
    policy: Policy
    version: Number
    ip_hash: Sha256 | None = None
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

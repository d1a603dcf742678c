"""The event types about notifications and what people want to hear of. The subject is a workspace, or absent."""

from __future__ import annotations

from datetime import datetime

from nilometer.domain import keys, notification, preference
from nilometer.domain.act import checked_id
from nilometer.domain.notification import Notice
from nilometer.domain.origin import of_event
from nilometer.domain.preference import Preference
from nilometer.domain.writes import Key, Write
from nilometer.flows.operation_types import Data, Operation, OperationType, OperationTypes, Stored


class NotificationRequested(Data):
    """A person is to be told something, once."""

    user_id: str
    topic: str
    title: str
    text: str = ""
    link: str | None = None


class NotificationRead(Data):
    """A person has read a notification."""

    user_id: str
    notification_id: str


class PreferenceSet(Data):
    """A person wants to hear of a topic on these channels; null takes back what he said."""

    user_id: str
    topic: str
    channels: dict[str, bool | None]


def _notice(operation: Operation) -> Notice:
    event = operation.event
    return notification.new_notice(
        **operation.data, cause=f"{event.source}\n{event.id}", at=event.time, workspace_id=event.subject
    )


def _reads_notice(operation: Operation) -> tuple[Key, ...]:
    return notification.request_reads(_notice(operation))


def _decides_notice(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    return notification.request(stored, _notice(operation), origin=of_event(operation.event), now=now)


def _read_key(operation: Operation) -> Key:
    return keys.notification(checked_id(operation.data["user_id"]), operation.data["notification_id"])


def _reads_read(operation: Operation) -> list[Key]:
    return [_read_key(operation)]


def _decides_read(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    item = stored.get(_read_key(operation))
    if item is None:
        notification.check_expected(operation.data["notification_id"], now)
        return []
    return notification.read([item], origin=of_event(operation.event, actor=operation.data["user_id"]), now=now)


def _preference(operation: Operation) -> Preference:
    return preference.new_preference(**operation.data, workspace_id=operation.event.subject)


def _reads_preference(operation: Operation) -> list[Key]:
    return [_preference(operation).key]


def _decides_preference(operation: Operation, stored: Stored, now: datetime) -> list[Write]:
    said = _preference(operation)
    return preference.decide(stored.get(said.key), said, origin=of_event(operation.event, actor=said.user_id), now=now)


TYPES: OperationTypes = {
    "notification.requested.v1": OperationType(
        data=NotificationRequested, reads=_reads_notice, decide=_decides_notice, has_workspace=False
    ),
    "notification.read.v1": OperationType(
        data=NotificationRead, reads=_reads_read, decide=_decides_read, has_workspace=False
    ),
    "preference.set.v1": OperationType(
        data=PreferenceSet, reads=_reads_preference, decide=_decides_preference, has_workspace=False
    ),
}

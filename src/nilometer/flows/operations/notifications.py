"""The event types about notifications and what people want to hear of. The subject is a workspace, or absent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from nilometer.domain.acts.act import checked_id
from nilometer.domain.acts.origin import of_event
from nilometer.domain.notices import notification, preference
from nilometer.domain.notices.notification import Notice
from nilometer.domain.notices.preference import Channel, Preference
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key, Write
from nilometer.flows.inbox.types import Data, Id, Operation, OperationType, OperationTypes, Stored

Topic = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^{preference.TOPIC.pattern}$", max_length=preference.TOPIC_LENGTH, description="exports.ready"
    ),
]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=notification.TITLE_LENGTH)]
Text = Annotated[str, msgspec.Meta(max_length=notification.TEXT_LENGTH, description="Plain text")]
Link = Annotated[
    str, msgspec.Meta(max_length=notification.LINK_LENGTH, description="A path of the console, or an https:// address")
]
Ulid = Annotated[str, msgspec.Meta(pattern="^[0-9A-HJKMNP-TV-Z]{26}$", description="The notification_id of its record")]


class NotificationRequested(Data):
    """A person is to be told something, once and as he prefers; the subject is the workspace that it is about."""

    user_id: Id
    topic: Topic
    title: Title
    text: Text = ""
    link: Link | None = None


class NotificationRead(Data):
    """A person has read a notification."""

    user_id: Id
    notification_id: Ulid


class PreferenceSet(Data):
    """A person wants to hear of a topic, or of all (`*`), on these channels; without a subject, in every workspace."""

    user_id: Id
    topic: Annotated[
        str, msgspec.Meta(pattern=rf"^(\*|{preference.TOPIC.pattern})$", max_length=preference.TOPIC_LENGTH)
    ]
    channels: Annotated[dict[Channel, bool | None], msgspec.Meta(min_length=1)]


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

"""What a person does with his notifications: he reads them, and he archives them. Neither is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Bounds, Decided, Deed, Id, Reach, Stored, made, unsent
from nilometer.domain.acts.records import alive, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.notices.notification import EARLY, counted, expiry, is_shown
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.ulid import is_ulid, time_of
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import NotKnownYet, Refused, Rejected

Ulid = Annotated[str, Bounds(pattern="^[0-9A-HJKMNP-TV-Z]{26}$", says="The notification_id of its record")]


@dataclass(frozen=True, kw_only=True)
class OwnNotifications(Deed[int]):
    """What one person does with notifications of his own; the answer is how many of them it changed.

    Of the library up to 40 at once, all or none. `Refused` for one that is not there: expired, or of another person or
    workspace.
    """

    reach = Reach.PERSON
    permission = Permission.NOTIFICATION_VIEW
    actor = Actor.PERSON

    user_id: Id = made()
    notification_id: Ulid
    others: tuple[str, ...] = unsent(())

    def reads(self, act: Act) -> list[Key]:
        ids = dict.fromkeys((self.notification_id, *self.others))
        return [keys.notification(checked_id(self.user_id), one) for one in ids]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        if act.is_event and not stored.keys() & set(self.reads(act)):
            check_expected(self.notification_id, act.now)
            return []
        found = [stored.get(key) for key in self.reads(act)]
        return self.writes([item if act.is_event and item else _own(item, act) for item in found], act)

    def writes(self, found: Sequence[Item], act: Act) -> list[Write]:
        """Of those that are there; nothing for what is so already."""
        raise NotImplementedError

    def changes(self, item: Item) -> bool:
        """Whether the deed says something new of a notification."""
        raise NotImplementedError

    def answer(self, act: Act, decided: Decided) -> int:
        return sum(self.changes(decided.before[key]) for key in self.reads(act) if key in decided.before)


@dataclass(frozen=True, kw_only=True)
class ReadNotification(OwnNotifications):
    """A person has read a notification.

    Of the library up to 40 at once, all or none: how many became read. `Refused` for one that is not there: expired, or
    of another person or workspace.
    """

    def writes(self, found: Sequence[Item], act: Act) -> list[Write]:
        return read(found, act=act)

    def changes(self, item: Item) -> bool:
        return bool(item["unread"])


@dataclass(frozen=True, kw_only=True)
class ArchiveNotification(OwnNotifications):
    """A person has put a notification away: it counts as read, and lists show it only when they are asked for it.

    Of the library up to 40 at once, all or none: how many were put away.
    """

    def writes(self, found: Sequence[Item], act: Act) -> list[Write]:
        return archive(found, act=act)

    def changes(self, item: Item) -> bool:
        return not is_archived(item)


def read(stored: Sequence[Item], *, act: Act) -> list[Write]:
    """Marks those that are unread and takes them from the count; nothing for the others."""
    fresh = [item for item in stored if item["unread"] and alive(item, act.now)]
    puts = [_changed(act, item, _read_now(act)) for item in fresh]
    return [*puts, *counted(fresh, -1, act=act)]


def archive(stored: Sequence[Item], *, act: Act) -> list[Write]:
    """Puts away those that are not archived, and takes what is unread among them from the count."""
    fresh = [item for item in stored if not is_archived(item) and alive(item, act.now)]
    unread = [item for item in fresh if item["unread"]]
    archived = {"archived_at": rfc3339(act.happened)}
    puts = [_changed(act, item, archived | (_read_now(act) if item["unread"] else {})) for item in fresh]
    return [*puts, *counted(unread, -1, act=act)]


def is_archived(item: Item) -> bool:
    """Whether its person has put it away."""
    return item.get("archived_at") is not None


def check_expected(notification_id: str, now: datetime) -> None:
    """For an id that is not stored: silent when it has expired, `NotKnownYet` when it may arrive later."""
    if not is_ulid(notification_id) or time_of(notification_id) > now + EARLY:
        raise Rejected("invalid_schema", f"{notification_id[:40]!r} is not a notification's id")
    if expiry(time_of(notification_id)) > now:
        raise NotKnownYet("unknown_notification", "the notification is not known yet; its request may not have arrived")


def _read_now(act: Act) -> dict[str, Any]:
    return {"unread": False, "read_at": rfc3339(act.happened)}


def _changed(act: Act, item: Item, changes: Item) -> Write:
    key = keys.notification(item["user_id"], item["notification_id"])
    return put(act, key, "notification", item, {**item, **changes})


def _own(item: Item | None, act: Act) -> Item:
    if item is None or not is_shown(item, workspace_id=act.workspace_id, now=act.now):
        raise Refused(f"there is no such notification in {act.workspace_id}; it may have expired")
    return item

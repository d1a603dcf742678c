"""The notification center of a person, and his preferences.

A caller has his own notifications only, and in a workspace those of that workspace and those of none. What if two
of his windows read the same notification at once? Its version has moved for one of them: it finds it read, and the
count went down once. What if the answer is lost? The same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.notices import notification, preference
from nilometer.domain.notices.notification import Unread
from nilometer.domain.notices.preference import Resolved
from nilometer.domain.notices.seen import ArchiveNotification, OwnNotifications, ReadNotification, is_archived
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.people.acting import perform, reading, whose

TOGETHER = 40  # notifications in one transaction: each may have a counter of its own
PAGE = 50


def shown(
    store: Store,
    caller: Caller,
    *,
    now: datetime,
    user_id: str | None = None,
    unread: bool = False,
    archived: bool = False,
    after: str = "",
    limit: int = PAGE,
) -> list[Item]:
    """The newest `limit`, newest first: those of the caller's workspace and those of none; archived ones alone or not
    at all. The next page begins `after` the id of the last one: what comes meanwhile moves nothing.
    """
    own = _reading(store, caller, user_id)
    items = _shown(store, own, caller.workspace_id, now, after)
    wanted = (item for item in items if is_archived(item) is archived and (item["unread"] or not unread))
    return list(islice(wanted, limit))


def unread(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> Unread:
    """Exact at this moment: read consistently from counters that change with the notifications."""
    own = keys.user(_reading(store, caller, user_id))
    counters: list[Item] = []
    for workspace_id in (None, caller.workspace_id):
        prefix = keys.unread("", workspace_id, "").sk
        counters += store.query(Table.RECORDS, own, prefix=prefix, consistent=True)
    return notification.unread_total(counters, now)


def mark_read(
    store: Store, caller: Caller, notification_ids: Iterable[str], *, now: datetime, user_id: str | None = None
) -> int:
    """How many became read. `Refused` for one that is not there: expired, or of another person or workspace.

    Atomic for 40 at a time.
    """
    return _each(store, caller, ReadNotification, notification_ids, now=now, user_id=user_id)


def mark_all_read(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> int:
    """How many became read, of what was there when it began; what comes meanwhile stays unread."""
    fresh = shown(store, caller, now=now, user_id=user_id, unread=True, limit=10_000)
    return mark_read(store, caller, [item["notification_id"] for item in fresh], now=now, user_id=user_id)


def archive(
    store: Store, caller: Caller, notification_ids: Iterable[str], *, now: datetime, user_id: str | None = None
) -> int:
    """How many were put away. `Refused` and atomic as `mark_read`; what was unread is read by it."""
    return _each(store, caller, ArchiveNotification, notification_ids, now=now, user_id=user_id)


def archive_all(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> int:
    """How many were put away, of those that were read when it began; what is unread stays."""
    listed = shown(store, caller, now=now, user_id=user_id, limit=10_000)
    read = [item["notification_id"] for item in listed if not item["unread"]]
    return archive(store, caller, read, now=now, user_id=user_id)


def preferences(store: Store, caller: Caller, *, user_id: str | None = None) -> list[Item]:
    """What was stated: everywhere, and in the caller's workspace."""
    own = keys.user(_reading(store, caller, user_id))
    found: list[Item] = []
    for workspace_id in (None, caller.workspace_id):
        found += store.query(Table.RECORDS, own, prefix=keys.preference("", workspace_id, "").sk)
    return found


def explain(store: Store, caller: Caller, topic: str, *, user_id: str | None = None) -> tuple[Resolved, ...]:
    """Whether each channel is on for `topic`, and which preference decides it."""
    preference.check_topic(topic)
    wanted = preference.candidates(_reading(store, caller, user_id), topic, caller.workspace_id)
    stored = store.batch_get(Table.RECORDS, wanted)
    return preference.resolve(topic, [stored.get(key) for key in wanted])


def _each(
    store: Store,
    caller: Caller,
    deed: type[OwnNotifications],
    notification_ids: Iterable[str],
    *,
    now: datetime,
    user_id: str | None,
) -> int:
    own, wanted = whose(caller, user_id), list(dict.fromkeys(notification_ids))
    chunks = (wanted[start : start + TOGETHER] for start in range(0, len(wanted), TOGETHER))
    deeds = (deed(user_id=own, notification_id=first, others=tuple(more)) for first, *more in chunks)
    return sum(perform(store, caller, one, now=now) for one in deeds)


def _shown(store: Store, user_id: str, workspace_id: str, now: datetime, after: str) -> Iterator[Item]:
    prefix = keys.notification("", "").sk
    start = keys.notification(user_id, after).sk if after else ""
    items = store.query(
        Table.RECORDS, keys.user(user_id), prefix=prefix, after=start, consistent=True, newest_first=True
    )
    return (item for item in items if notification.is_shown(item, workspace_id=workspace_id, now=now))


def _reading(store: Store, caller: Caller, user_id: str | None) -> str:
    """Whose notifications, once the caller may see some."""
    own = whose(caller, user_id)
    reading(store, caller, Permission.NOTIFICATION_VIEW)
    return own

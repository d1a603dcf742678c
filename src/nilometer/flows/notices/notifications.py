"""The notification center of a person, and what he wants to hear of.

A caller has his own notifications only, and in a workspace those of that workspace and those of none. What if two
of his windows read the same notification at once? Its version has moved for one of them: it finds it read, and the
count went down once. What if the answer is lost? The same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller
from nilometer.domain.acts.origin import of_act, of_actor
from nilometer.domain.acts.roles import Permission
from nilometer.domain.notices import notification, preference
from nilometer.domain.notices.notification import Notice, Unread
from nilometer.domain.notices.preference import Resolved
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Table, Write
from nilometer.errors import Refused
from nilometer.flows.inbox.races import retrying
from nilometer.flows.people.acting import Stored, new_act, perform, reading, whose

TOGETHER = 40  # notifications in one transaction: each may have a counter of its own
PAGE = 50


def notify(store: Store, notice: Notice, *, actor: str, now: datetime, cause: str | None = None) -> bool:
    """Tells it once, on the channels that the person wants; False when it was told, or nobody wants to hear it."""

    def attempt() -> bool:
        stored = store.batch_get(Table.RECORDS, notification.request_reads(notice), consistent=True)
        writes = notification.request(stored, notice, origin=of_actor(actor, now, cause=cause), now=now)
        store.commit(writes)
        return bool(writes)

    return retrying(attempt)


def shown(
    store: Store, caller: Caller, *, now: datetime, user_id: str | None = None, unread: bool = False, limit: int = PAGE
) -> list[Item]:
    """The newest `limit`, newest first: those of the caller's workspace and those of none."""
    own = _reading(store, caller, user_id)
    items = _shown(store, own, caller.workspace_id, now)
    return list(islice((item for item in items if item["unread"] or not unread), limit))


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
    own = whose(caller, user_id)
    wanted = list(dict.fromkeys(notification_ids))
    chunks = (wanted[start : start + TOGETHER] for start in range(0, len(wanted), TOGETHER))
    return sum(_mark_chunk(store, caller, [keys.notification(own, one) for one in chunk], now) for chunk in chunks)


def mark_all_read(store: Store, caller: Caller, *, now: datetime, user_id: str | None = None) -> int:
    """How many became read, of what was there when it began; what comes meanwhile stays unread."""
    fresh = shown(store, caller, now=now, user_id=user_id, unread=True, limit=10_000)
    return mark_read(store, caller, [item["notification_id"] for item in fresh], now=now, user_id=user_id)


def prefer(
    store: Store,
    caller: Caller,
    *,
    topic: str,
    channels: Mapping[str, bool | None],
    now: datetime,
    everywhere: bool = False,
    user_id: str | None = None,
) -> None:
    """States which channels are on for a topic, or for all (`*`): in the caller's workspace, or in every one.

    `None` takes a statement back. Channels that are not named stay.
    """
    own = whose(caller, user_id)
    workspace_id = None if everywhere else caller.workspace_id
    said = preference.new_preference(own, topic=topic, channels=channels, workspace_id=workspace_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], None]:
        act.caller.require(Permission.NOTIFICATION_VIEW)
        return preference.decide(stored.get(said.key), said, origin=of_act(act), now=now), None

    perform(store, new_act(caller, now), [said.key], decide)


def preferences(store: Store, caller: Caller, *, user_id: str | None = None) -> list[Item]:
    """What was stated: everywhere, and in the caller's workspace."""
    own = keys.user(_reading(store, caller, user_id))
    found: list[Item] = []
    for workspace_id in (None, caller.workspace_id):
        found += store.query(Table.RECORDS, own, prefix=keys.preference("", workspace_id, "").sk)
    return found


def explain(store: Store, caller: Caller, topic: str, *, user_id: str | None = None) -> tuple[Resolved, ...]:
    """Whether each channel would tell of `topic`, and which statement makes it so."""
    preference.check_topic(topic)
    wanted = preference.candidates(_reading(store, caller, user_id), topic, caller.workspace_id)
    stored = store.batch_get(Table.RECORDS, wanted)
    return preference.resolve(topic, [stored.get(key) for key in wanted])


def _mark_chunk(store: Store, caller: Caller, wanted: Sequence[Key], now: datetime) -> int:
    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], int]:
        act.caller.require(Permission.NOTIFICATION_VIEW)
        found = [_own(stored.get(key), caller, now) for key in wanted]
        writes = notification.read(found, origin=of_act(act), now=now)
        return writes, sum(item["unread"] for item in found)

    return perform(store, new_act(caller, now), wanted, decide)


def _own(item: Item | None, caller: Caller, now: datetime) -> Item:
    if item is None or not notification.is_shown(item, workspace_id=caller.workspace_id, now=now):
        raise Refused(f"there is no such notification in {caller.workspace_id}; it may have expired")
    return item


def _shown(store: Store, user_id: str, workspace_id: str, now: datetime) -> Iterator[Item]:
    prefix = keys.notification("", "").sk
    items = store.query(Table.RECORDS, keys.user(user_id), prefix=prefix, consistent=True, newest_first=True)
    return (item for item in items if notification.is_shown(item, workspace_id=workspace_id, now=now))


def _reading(store: Store, caller: Caller, user_id: str | None) -> str:
    """Whose notifications, once the caller may see some."""
    own = whose(caller, user_id)
    reading(store, caller, Permission.NOTIFICATION_VIEW)
    return own

"""The security log of a workspace, as its Admins read it, also when the workspace is deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice, takewhile

from nilometer.aws.dynamodb import Store
from nilometer.domain.access import lockout
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.deed import Reach
from nilometer.domain.acts.records import alive
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import SecurityEntry, entry_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Table
from nilometer.flows.people.acting import reading

LIMIT = 100


def entries(
    store: Store, caller: Caller, *, now: datetime, since: datetime | None = None, limit: int = LIMIT
) -> list[SecurityEntry]:
    """Of the caller's workspace, the newest first."""
    reading(store, caller, Permission.SECURITY_VIEW, reach=Reach.WORKSPACE)
    pk = keys.workspace(caller.workspace_id).pk
    items = store.query(Table.RECORDS, pk, prefix="SECURITY#", newest_first=True, consistent=True, page=limit)
    return _read(items, now, since, limit)


def entries_after(store: Store, caller: Caller, after: str, *, now: datetime, limit: int) -> list[SecurityEntry]:
    """Of the caller's workspace, the oldest first: those that follow the entry with this id, all with an empty one."""
    reading(store, caller, Permission.SECURITY_VIEW, reach=Reach.WORKSPACE)
    own, start = keys.workspace(caller.workspace_id).pk, keys.security(caller.workspace_id, after).sk if after else ""
    items = store.query(Table.RECORDS, own, prefix="SECURITY#", after=start, consistent=True, page=limit)
    return _read(items, now, None, limit)


def entries_by(
    store: Store, caller: Caller, actor: str, *, now: datetime, since: datetime | None = None, limit: int = LIMIT
) -> list[SecurityEntry]:
    """What one actor did in the caller's workspace, the newest first; of himself everybody may know. From the index."""
    allowed = Permission.WORKSPACE_VIEW if caller.is_self(actor) else Permission.SECURITY_VIEW
    reading(store, caller, allowed, reach=Reach.WORKSPACE)
    items = store.query_index(keys.actor(actor), newest_first=True)
    return _read((item for item in items if item["workspace_id"] == caller.workspace_id), now, since, limit)


def locked_until(store: Store, caller: Caller, user_id: str, *, now: datetime) -> datetime | None:
    """For the service that logs people in: `None` when he may try."""
    reading(store, caller, Permission.SECURITY_RECORD)
    stored = store.get(Table.RECORDS, keys.lockout(caller.workspace_id, user_id), consistent=True)
    return lockout.locked_until(alive(stored, now), now)


def _read(items: Iterable[Item], now: datetime, since: datetime | None, limit: int) -> list[SecurityEntry]:
    found: Iterator[Item] = (item for item in items if alive(item, now))
    if since:
        first = rfc3339(since)
        found = takewhile(lambda item: item["time"] >= first, found)
    return [entry_of(item) for item in islice(found, limit)]

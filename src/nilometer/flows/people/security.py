"""The security log as a library: services report, Admins read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice, takewhile

from nilometer.aws.dynamodb import Store
from nilometer.domain.access import lockout
from nilometer.domain.access.report import report as reported
from nilometer.domain.acts.act import Act, Caller
from nilometer.domain.acts.records import alive
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import Reported, SecurityEntry, entry_of
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Table, Write
from nilometer.flows.people.acting import Stored, after, new_act, perform, reading

LIMIT = 100


def report(
    store: Store,
    caller: Caller,
    action: Reported,
    *,
    user_id: str,
    now: datetime,
    object_id: str | None = None,
    reason: str | None = None,
) -> datetime | None:
    """Writes what a user did, or failed to do. Until when he is locked out, if he is."""
    key = keys.lockout(caller.workspace_id, user_id)

    def decide(act: Act, stored: Stored) -> tuple[Sequence[Write], datetime | None]:
        failures = stored.get(key)
        writes = reported(act, failures=failures, action=action, user_id=user_id, object_id=object_id, reason=reason)
        return writes, lockout.locked_until(after(writes, key, stored), now)

    return perform(store, new_act(caller, now), [key], decide)


def entries(
    store: Store, caller: Caller, *, now: datetime, since: datetime | None = None, limit: int = LIMIT
) -> list[SecurityEntry]:
    """Of the caller's workspace, the newest first."""
    reading(store, caller, Permission.SECURITY_VIEW)
    pk = keys.workspace(caller.workspace_id).pk
    items = store.query(Table.RECORDS, pk, prefix="SECURITY#", newest_first=True, consistent=True)
    return _read(items, now, since, limit)


def entries_by(
    store: Store, caller: Caller, actor: str, *, now: datetime, since: datetime | None = None, limit: int = LIMIT
) -> list[SecurityEntry]:
    """What one actor did in the caller's workspace, the newest first; of himself everybody may know. From the index."""
    reading(store, caller, Permission.WORKSPACE_VIEW if caller.is_self(actor) else Permission.SECURITY_VIEW)
    items = store.query_index(keys.actor(actor), newest_first=True)
    return _read((item for item in items if item["workspace_id"] == caller.workspace_id), now, since, limit)


def locked_until(store: Store, caller: Caller, user_id: str, *, now: datetime) -> datetime | None:
    """For the service at the door: `None` when he may try."""
    reading(store, caller, Permission.SECURITY_RECORD)
    stored = store.get(Table.RECORDS, keys.lockout(caller.workspace_id, user_id), consistent=True)
    return lockout.locked_until(alive(stored, now), now)


def _read(items: Iterable[Item], now: datetime, since: datetime | None, limit: int) -> list[SecurityEntry]:
    found: Iterator[Item] = (item for item in items if alive(item, now))
    if since:
        first = rfc3339(since)
        found = takewhile(lambda item: item["time"] >= first, found)
    return [entry_of(item) for item in islice(found, limit)]

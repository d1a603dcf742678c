"""Workspaces as a library: open one with its first Admin, change, delete, restore, and remove what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Act, Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.security import Action, entry
from nilometer.domain.people import membership
from nilometer.domain.people.fields import check_same, decide, workspace_change
from nilometer.domain.people.workspace import WorkspaceStatus, is_gone, workspace_writes
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, Write
from nilometer.errors import Refused
from nilometer.flows.inbox.races import retrying
from nilometer.flows.people.acting import Stored, after, as_stored, guards, new_act, own

PEOPLE = ("MEMBER#", "INVITATION#", "LOCKOUT#", "ONBOARDING#", "FLAG#")
"""What goes with a workspace whose grace is over. Billing, counters and the security log stay."""


def open_workspace(store: Store, caller: Caller, *, name: str, slug: str | None, admin: str, now: datetime) -> Item:
    """The record, with its slug and its first Admin, in one transaction. Doing it again changes nothing.

    `Refused` when the workspace or the slug is another's.
    """
    act = new_act(caller, now)
    key, member = keys.workspace(caller.workspace_id), keys.member(caller.workspace_id, admin)
    given = {"name": name, **({"slug": slug} if slug else {})}
    change = workspace_change(
        caller.workspace_id, creates=True, given=given, stamp=rfc3339(now), cause=None, actor=caller.user_id
    )

    def attempt() -> Item:
        caller.require(Permission.WORKSPACE_CREATE)
        stored = store.batch_get(Table.RECORDS, [key, member, *_slug_keys(slug)], consistent=True)
        if existing := stored.get(key):
            check_same(existing, change)
            _check_founder(stored.get(member), admin)
            return existing
        put = decide(None, change, now=now)
        assert put  # noqa: S101  # nothing is stored, so there is something to put
        founded = Put(table=put.table, item={**put.item, "admins": 1}, expected=put.expected)
        writes = workspace_writes(None, founded, _held(stored, slug), now=now)
        store.commit([*writes, *membership.found(act, stored=stored.get(member), user_id=admin)])
        return writes[0].item if isinstance(writes[0], Put) else founded.item

    return retrying(attempt)


def workspace(store: Store, caller: Caller) -> Item:
    """The caller's own, deleted or not."""
    key = keys.workspace(caller.workspace_id)
    stored = store.batch_get(Table.RECORDS, [key, *own(caller)], consistent=True)
    as_stored(caller, stored).require(Permission.WORKSPACE_VIEW)
    return _known(stored.get(key), caller)


def all_workspaces(store: Store) -> Iterator[Item]:
    """For operators: reads the whole table."""
    return store.scan(Table.RECORDS, kind="workspace")


def update_workspace(
    store: Store, caller: Caller, *, now: datetime, name: str | None = None, slug: str | None = None
) -> Item:
    """`Refused` when another workspace has the slug."""
    given = {"name": name, "slug": slug}
    return _change(store, caller, {k: v for k, v in given.items() if v is not None}, Permission.WORKSPACE_UPDATE, now)


def delete_workspace(store: Store, caller: Caller, *, now: datetime) -> Item:
    """Closed for everybody at once; can be restored for 30 days. Doing it again changes nothing."""
    return _change(store, caller, {"status": str(WorkspaceStatus.DELETED)}, Permission.WORKSPACE_DELETE, now)


def restore_workspace(store: Store, caller: Caller, *, now: datetime) -> Item:
    """As it was before it was deleted, with its people and its slug. `Refused` when the grace is over."""
    return _change(store, caller, {"status": str(WorkspaceStatus.ACTIVE)}, Permission.WORKSPACE_DELETE, now)


def purge_workspace(store: Store, caller: Caller, *, now: datetime) -> int:
    """Removes people and their settings from a workspace whose grace is over; how many records. May be repeated."""
    caller.require(Permission.WORKSPACE_CREATE)
    record = _known(store.get(Table.RECORDS, keys.workspace(caller.workspace_id), consistent=True), caller)
    if not is_gone(record, now):
        raise Refused(f"workspace {caller.workspace_id} is not deleted, or can still be restored")
    found = [
        Key(item["pk"], item["sk"])
        for prefix in PEOPLE
        for item in store.query(Table.RECORDS, record["pk"], prefix=prefix, consistent=True)
    ]
    store.delete_all(Table.RECORDS, found)
    return len(found)


def _change(store: Store, caller: Caller, given: Mapping[str, Any], permission: Permission, now: datetime) -> Item:
    """A deleted workspace can be changed by who may restore it, so this does not ask whether it is open."""
    key = keys.workspace(caller.workspace_id)
    act = new_act(caller, now)

    def attempt() -> Item:
        wanted = [key, *own(caller), *_slug_keys(given.get("slug"))]
        stored = store.batch_get(Table.RECORDS, wanted, consistent=True)
        as_stored(caller, stored).require(permission)
        before = _known(stored.get(key), caller)
        writes = _writes(act, before, given, _held(stored, given.get("slug")))
        if writes:
            store.commit([*writes, *guards(caller, stored, writes)])
        return after(writes, key, stored) or before

    return retrying(attempt)


def _writes(act: Act, before: Item, given: Mapping[str, Any], holder: Item | None) -> Sequence[Write]:
    if all(before.get(name) == value for name, value in given.items()):
        return []
    if before["status"] == WorkspaceStatus.DELETED and "status" not in given:
        raise Refused(f"workspace {act.workspace_id} is deleted; restore it first")
    newest = max([rfc3339(act.now), *before.get("field_times", {}).values()])
    stamp = f"{newest} {act.caller.user_id}"  # after all that the caller saw
    change = workspace_change(
        act.workspace_id, creates=False, given=given, stamp=stamp, cause=act.cause, actor=act.caller.user_id
    )
    put = decide(before, change, now=act.now)
    if put is None:
        return []
    return [*workspace_writes(before, put, holder, now=act.now), *_logged(act, before, put.item)]


def _logged(act: Act, before: Item, item: Item) -> list[Write]:
    was, is_ = before["status"] == WorkspaceStatus.DELETED, item["status"] == WorkspaceStatus.DELETED
    if was == is_:
        return []
    return [entry(act, Action.WORKSPACE_DELETED if is_ else Action.WORKSPACE_RESTORED)]


def _known(item: Item | None, caller: Caller) -> Item:
    if item is None:
        raise Refused(f"workspace {caller.workspace_id} is not known; create it first")
    return item


def _check_founder(member: Item | None, admin: str) -> None:
    if membership.membership_of(member) is None:
        raise Refused(f"the workspace exists already, and {admin} is no member of it")


def _slug_keys(slug: str | None) -> list[Key]:
    return [keys.slug(slug)] if slug else []


def _held(stored: Stored, slug: str | None) -> Item | None:
    return stored.get(keys.slug(slug)) if slug else None

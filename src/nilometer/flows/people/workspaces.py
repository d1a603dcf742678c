"""Workspaces: read one or all, and remove what is left of one whose grace is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people.workspace import is_gone
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Table
from nilometer.errors import Refused
from nilometer.flows.people.acting import as_stored, own

PEOPLE = ("MEMBER#", "INVITATION#", "INVITED#", "LOCKOUT#", "ONBOARDING#", "FLAG#")
"""What goes with a workspace whose grace is over. Billing, counters and the security log stay."""


def workspace(store: Store, caller: Caller) -> Item:
    """The caller's own, deleted or not."""
    key = keys.workspace(caller.workspace_id)
    stored = store.batch_get(Table.RECORDS, [key, *own(caller)], consistent=True)
    as_stored(caller, stored).require(Permission.WORKSPACE_VIEW)
    return _known(stored.get(key), caller)


def all_workspaces(store: Store) -> Iterator[Item]:
    """For operators. In no promised order."""
    return store.every("workspace")


def statuses(store: Store, workspace_ids: Iterable[str]) -> dict[str, str]:
    """Of each workspace that is known: `active`, `suspended` or `deleted`."""
    wanted = {keys.workspace(name): name for name in workspace_ids}
    found = store.batch_get(Table.RECORDS, list(wanted), consistent=True)
    return {wanted[key]: item["status"] for key, item in found.items()}


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


def _known(item: Item | None, caller: Caller) -> Item:
    if item is None:
        raise Refused(f"workspace {caller.workspace_id} is not known; create it first")
    return item

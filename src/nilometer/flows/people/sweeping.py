"""Objects of attachments that no record names any more, or that none ever did, are deleted.

What if the process dies in the middle? The next run takes the claim over. What if the same content is attached at this
moment? Either the claim fails, because a record names the object, or the record is refused and the call made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from urllib.parse import unquote

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Act, service
from nilometer.domain.people import sweep as rules
from nilometer.domain.people.attachment import AttachmentPurpose, is_kept
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Put, Table
from nilometer.errors import Cancelled

FOLDER = "attachments/"
SWEEPER = "attachments"  # who does it, in the audit


def sweep(store: Store, objects: Objects, *, now: datetime, dry_run: bool = False) -> Iterator[str]:
    """The key of each object once it is deleted, or of each that would be. Reads one partition a workspace."""
    old = ((key, _folder(key)) for key, written in objects.listed(FOLDER) if written <= now - rules.UNNAMED)
    for workspace_id, found in groupby(old, key=lambda one: one[1]):
        act = Act(caller=service(workspace_id, SWEEPER), now=now, chance=b"")
        items = store.query(Table.RECORDS, keys.workspace(workspace_id).pk, prefix="ATTACHMENT#", consistent=True)
        named = {item["sha256"] for item in items if is_kept(item)}
        for key, _ in found:
            sha256 = key.rpartition("/")[2]
            if sha256 not in named and (dry_run or _delete(store, objects, act, key, sha256)):
                yield key


def _delete(store: Store, objects: Objects, act: Act, key: str, sha256: str) -> bool:
    """False when somebody names the object now, or another process deletes it."""
    purposes = [keys.attachment(act.workspace_id, purpose, sha256) for purpose in AttachmentPurpose]
    claim_key = keys.sweep(act.workspace_id, sha256)
    stored = store.batch_get(Table.RECORDS, [*purposes, claim_key], consistent=True)
    claimed = _claim(store, act, sha256, purposes, stored)
    if claimed is None:
        return False
    objects.delete(key)
    store.commit([rules.done(act, sha256, claimed)])
    return True


def _claim(store: Store, act: Act, sha256: str, purposes: list[Key], stored: Mapping[Key, Item]) -> Put | None:
    item = stored.get(keys.sweep(act.workspace_id, sha256))
    marks = [stored[key] for key in purposes if key in stored]
    if any(map(is_kept, marks)) or not rules.is_claimable(item, act):
        return None
    absent = [key for key in purposes if key not in stored]
    writes = rules.claim(act, sha256, marks=marks, absent=absent, item=item)
    try:
        store.commit(writes)
    except Cancelled:
        return None
    [claimed] = [write for write in writes if isinstance(write, Put)]
    return claimed


def _folder(key: str) -> str:
    return unquote(key.removeprefix(FOLDER).partition("/")[0])

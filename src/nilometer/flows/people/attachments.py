"""Large values of a workspace as a library: avatars, exports, attachments. The content is in S3, never in an item.

What if the process dies after the object and before its reference? The same call again writes the reference; there
is never a reference without its object. What if a sweep deletes the object between the two? The
reference is refused, and the call is made again (`domain.people.sweep`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import sweep
from nilometer.domain.people.attachment import (
    READS,
    Attach,
    Attachment,
    AttachmentPurpose,
    attachment_of,
    checked,
    described,
    folder,
    is_kept,
)
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people.acting import perform, reading

URL_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A signed address: PUT the content there with exactly these headers, then call `attach_uploaded`."""

    url: str
    headers: Mapping[str, str]


def attach(
    store: Store,
    caller: Caller,
    content: bytes,
    *,
    objects: Objects,
    purpose: AttachmentPurpose,
    content_type: str,
    now: datetime,
) -> Attachment:
    """Keeps up to 10 MB. Doing it again changes nothing. `Rejected` for what is empty, too large or of no type."""
    deed = described(content, purpose=purpose, content_type=content_type)
    reading(store, caller, Permission.ATTACHMENT_ADD)  # nobody else may fill the bucket
    swept = _swept(store, caller, deed.sha256)
    objects.put(folder(caller.workspace_id), content)
    return perform(store, caller, replace(deed, swept=swept), now=now)


def upload(store: Store, caller: Caller, deed: Attach, *, objects: Objects, seconds: int = URL_SECONDS) -> Upload:
    """Where the content that `deed` describes may be put, without passing through us. `attach_uploaded` comes after it.

    `Rejected` for what is empty, too large or of no type; the URL takes no other size, type or content.
    """
    reading(store, caller, Permission.ATTACHMENT_ADD)
    key = f"{folder(caller.workspace_id)}/{checked(deed).sha256}"
    url, headers = objects.upload_url(key, size=deed.size, content_type=deed.content_type, seconds=seconds)
    return Upload(url=url, headers=headers)


def attach_uploaded(store: Store, caller: Caller, deed: Attach, *, objects: Objects, now: datetime) -> Attachment:
    """Keeps what was put where `upload` said for the same `deed`.

    `Refused` when nothing of that size is there; `Rejected("claim_broken")` when the content is not what its hash says.
    """
    reading(store, caller, Permission.ATTACHMENT_ADD)
    swept = _swept(store, caller, checked(deed).sha256)
    key = f"{folder(caller.workspace_id)}/{deed.sha256}"
    if objects.size(key) != deed.size:
        raise Refused(f"no content of {deed.size} bytes was uploaded for {deed.sha256[:64]}; upload it, then try again")
    objects.get(key)
    return perform(store, caller, replace(deed, swept=swept), now=now)


def download_url(
    store: Store,
    caller: Caller,
    sha256: str,
    *,
    objects: Objects,
    purpose: AttachmentPurpose,
    seconds: int = URL_SECONDS,
) -> str:
    """Where the content may be had for so long by whoever has the address. `Refused` as `fetch`."""
    found = _kept(store, caller, sha256, purpose)
    return objects.download_url(found.object_key, content_type=found.content_type, seconds=seconds)


def fetch(store: Store, caller: Caller, sha256: str, *, objects: Objects, purpose: AttachmentPurpose) -> bytes:
    """The content, compared with its hash. `Refused` for what the caller's workspace has not."""
    return objects.get(_kept(store, caller, sha256, purpose).object_key)


def attached(store: Store, caller: Caller, *, purpose: AttachmentPurpose) -> list[Attachment]:
    """The references of one purpose in the caller's workspace, by hash."""
    reading(store, caller, READS[purpose])
    prefix = keys.attachment(caller.workspace_id, purpose, "")
    items = store.query(Table.RECORDS, prefix.pk, prefix=prefix.sk, consistent=True)
    return [attachment_of(item) for item in items if is_kept(item)]


def _kept(store: Store, caller: Caller, sha256: str, purpose: AttachmentPurpose) -> Attachment:
    reading(store, caller, READS[purpose])
    item = store.get(Table.RECORDS, keys.attachment(caller.workspace_id, purpose, sha256), consistent=True)
    if item is None or not is_kept(item):
        raise Refused(f"{caller.workspace_id} has no {purpose} {sha256[:64]}")
    return attachment_of(item)


def _swept(store: Store, caller: Caller, sha256: str) -> int:
    return sweep.seen(store.get(Table.RECORDS, keys.sweep(caller.workspace_id, sha256), consistent=True))

"""Large values of a workspace as a library: avatars, exports, attachments. The content is in S3, never in an item.

What if the process dies after the object and before its reference? The same call again writes the reference; there
is never a reference without its object.
"""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people.attachment import READS, Attachment, AttachmentPurpose, attachment_of, described, folder
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused
from nilometer.flows.people.acting import perform, reading


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
    objects.put(folder(caller.workspace_id), content)
    return perform(store, caller, deed, now=now)


def fetch(store: Store, caller: Caller, sha256: str, *, objects: Objects, purpose: AttachmentPurpose) -> bytes:
    """The content, compared with its hash. `Refused` for what the caller's workspace has not."""
    reading(store, caller, READS[purpose])
    item = store.get(Table.RECORDS, keys.attachment(caller.workspace_id, purpose, sha256), consistent=True)
    if item is None:
        raise Refused(f"{caller.workspace_id} has no {purpose} {sha256[:64]}")
    return objects.get(attachment_of(item).object_key)


def attached(store: Store, caller: Caller, *, purpose: AttachmentPurpose) -> list[Attachment]:
    """The references of one purpose in the caller's workspace, by hash."""
    reading(store, caller, READS[purpose])
    prefix = keys.attachment(caller.workspace_id, purpose, "")
    return [attachment_of(item) for item in store.query(Table.RECORDS, prefix.pk, prefix=prefix.sk, consistent=True)]

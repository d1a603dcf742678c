"""A large value of a workspace: an object in S3, and in the table no more than a reference to it.

The hash of the content is its name, so that the same content is kept once and a repeated call finds its own record.
Records of several purposes may name one object. A removed attachment stays as a mark for 30 days; its object is deleted
later, once no record names it (`domain.people.sweep`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Actor, Decided, Deed, Sha256, Stored, unsent
from nilometer.domain.acts.records import put, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.people import sweep
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import NotKnownYet, Refused, Rejected

CONTENT_BYTES = 10_000_000
MARKED = timedelta(days=30)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}/[a-z0-9][a-z0-9.+-]{0,62}")


class AttachmentPurpose(StrEnum):
    """What the value is for, which decides who may read it."""

    AVATAR = "avatar"
    EXPORT = "export"
    ATTACHMENT = "attachment"


READS: Final = {
    AttachmentPurpose.AVATAR: Permission.ATTACHMENT_VIEW,
    AttachmentPurpose.EXPORT: Permission.HISTORY_QUERY,  # what was queried is read by who may query
    AttachmentPurpose.ATTACHMENT: Permission.ATTACHMENT_VIEW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A reference. `size` in bytes, `added_at` RFC 3339, `added_by` a user or a service."""

    workspace_id: str
    purpose: AttachmentPurpose
    sha256: str
    size: int
    content_type: str
    added_at: str
    added_by: str

    @property
    def object_key(self) -> str:
        """The S3 key, addressed by content: the same bytes in one workspace are one object."""
        return f"{folder(self.workspace_id)}/{self.sha256}"


def folder(workspace_id: str) -> str:
    """The prefix in S3 of all that one workspace attached; its id cannot name another one's."""
    return f"attachments/{quote(workspace_id, safe='').replace('.', '%2E')}"


@dataclass(frozen=True, kw_only=True)
class Attach(Deed[Attachment]):
    """A workspace has a large value, whose content is in S3 already.

    Once: who attaches the same again changes nothing, neither its type nor who was first. No event says so.
    `swept` is `sweep.seen` as it was before the content was there for sure: `Unavailable` when a sweep came since.
    """

    permission = Permission.ATTACHMENT_ADD

    purpose: AttachmentPurpose
    sha256: Sha256
    size: int
    content_type: str
    swept: int = unsent(0)

    def reads(self, act: Act) -> list[Key]:
        return [_key(act, self), keys.sweep(act.workspace_id, self.sha256)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        key, swept = self.reads(act)
        known = stored.get(key)
        if is_kept(known):
            return []
        attributes = {
            "purpose": str(self.purpose),
            "sha256": self.sha256,
            "size": self.size,
            "content_type": self.content_type,
            "added_at": rfc3339(act.happened),
            "added_by": act.caller.user_id,
        }
        unswept = sweep.unchanged(swept, stored.get(swept), since=self.swept)
        return [record(act, key, "attachment", known, **attributes), unswept]

    def answer(self, act: Act, decided: Decided) -> Attachment:
        item = decided.after(_key(act, self))
        assert item  # noqa: S101  # it was there, or is written
        return attachment_of(item)


@dataclass(frozen=True, kw_only=True)
class RemoveAttachment(Deed[bool]):
    """A workspace has an attachment no longer; its content is deleted within days, unless another purpose names it.

    Who added it may remove it. In the library the answer is whether it was there. `Refused` for what never was.
    """

    permission = Permission.ATTACHMENT_REMOVE
    actor = Actor.NAMED

    purpose: AttachmentPurpose
    sha256: Sha256

    def reads(self, act: Act) -> list[Key]:
        return [_key(act, self)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        key = _key(act, self)
        known = stored.get(key)
        self.require(act, own=known["added_by"] if known else None)
        if known is None and act.is_event:
            raise NotKnownYet("unknown_attachment", "the attachment is not known yet; it may not have arrived")
        if known is None:
            raise Refused(f"{act.workspace_id} has no {self.purpose} {self.sha256[:64]}")
        if not is_kept(known) or (act.is_event and rfc3339(act.happened) < known["added_at"]):
            return []
        mark = {"removed_at": rfc3339(act.happened), "expires_at": epoch(act.now + MARKED)}
        return [put(act, key, "attachment", known, {**known, **mark})]

    def answer(self, act: Act, decided: Decided) -> bool:
        return bool(decided.writes)


def is_kept(item: Item | None) -> bool:
    """False for what was removed, of which a mark is left."""
    return item is not None and "removed_at" not in item


def checked(deed: Attach) -> Attach:
    """`Rejected` when its content would be empty, larger than 10 MB, or its type is none."""
    if not 0 < deed.size <= CONTENT_BYTES:
        raise Rejected("too_large" if deed.size else "invalid_schema", f"content has 1 to {CONTENT_BYTES} bytes")
    if not _CONTENT_TYPE.fullmatch(deed.content_type):
        raise Rejected("invalid_schema", f"content type {deed.content_type[:80]!r} is none; write image/png")
    if not _SHA256.fullmatch(deed.sha256):
        raise Rejected("invalid_schema", "sha256 is not the SHA-256 of a content: 64 digits, a-f in lower case")
    return deed


def _key(act: Act, deed: Attach | RemoveAttachment) -> Key:
    return keys.attachment(act.workspace_id, deed.purpose, deed.sha256)


def described(content: bytes, *, purpose: AttachmentPurpose, content_type: str) -> Attach:
    """The deed for a content. `Rejected` when it is empty, larger than 10 MB, or its type is none."""
    sha256 = hashlib.sha256(content).hexdigest()
    return checked(Attach(purpose=purpose, sha256=sha256, size=len(content), content_type=content_type))


def attachment_of(item: Item) -> Attachment:
    """From its item in the records table."""
    return Attachment(
        workspace_id=item["workspace_id"],
        purpose=AttachmentPurpose(item["purpose"]),
        sha256=item["sha256"],
        size=int(item["size"]),
        content_type=item["content_type"],
        added_at=item["added_at"],
        added_by=item["added_by"],
    )

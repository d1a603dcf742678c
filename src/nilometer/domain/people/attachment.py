"""A large value of a workspace: an object in S3, and in the table no more than a reference to it.

The hash of the content is its name, so that the same content is kept once and a repeated call finds its own record.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.deed import Decided, Deed, Sha256, Stored
from nilometer.domain.acts.records import record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store import keys
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import Rejected

CONTENT_BYTES = 10_000_000
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
    """

    permission = Permission.ATTACHMENT_ADD

    purpose: AttachmentPurpose
    sha256: Sha256
    size: int
    content_type: str

    def reads(self, act: Act) -> list[Key]:
        return [keys.attachment(act.workspace_id, self.purpose, self.sha256)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        [key] = self.reads(act)
        if key in stored:
            return []
        attributes = {
            "purpose": str(self.purpose),
            "sha256": self.sha256,
            "size": self.size,
            "content_type": self.content_type,
            "added_at": rfc3339(act.happened),
            "added_by": act.caller.user_id,
        }
        return [record(act, key, "attachment", None, **attributes)]

    def answer(self, act: Act, decided: Decided) -> Attachment:
        [key] = self.reads(act)
        item = decided.after(key)
        assert item  # noqa: S101  # it was there, or is written
        return attachment_of(item)


def described(content: bytes, *, purpose: AttachmentPurpose, content_type: str) -> Attach:
    """The deed for a content. `Rejected` when it is empty, larger than 10 MB, or its type is none."""
    if not 0 < len(content) <= CONTENT_BYTES:
        raise Rejected("too_large" if content else "invalid_schema", f"content has 1 to {CONTENT_BYTES} bytes")
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise Rejected("invalid_schema", f"content type {content_type[:80]!r} is none; write image/png")
    sha256 = hashlib.sha256(content).hexdigest()
    return Attach(purpose=purpose, sha256=sha256, size=len(content), content_type=content_type)


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

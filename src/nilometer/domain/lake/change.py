"""One change of one item: what a DynamoDB stream says, as a value of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nilometer.domain.lake import exact, redaction
from nilometer.domain.store.copies import is_copy
from nilometer.domain.store.times import from_epoch, rfc3339_of
from nilometer.domain.store.writes import Item, Key, Table

_SEQUENCE_DIGITS = 40  # the longest that DynamoDB gives


class ItemAction(StrEnum):
    """What happened to an item, as DynamoDB streams say it."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"
    EXPIRED = "EXPIRED"  # removed by TTL, not by us


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One stream record. At least one image is there; `occurred_at` is in epoch seconds."""

    change_id: str
    table: Table
    action: ItemAction
    key: Key
    old: Item | None
    new: Item | None
    sequence_number: str
    occurred_at: int

    @property
    def item(self) -> Item:
        """As it is, or as it last was."""
        return self.new if self.new is not None else self.old or {}

    @property
    def padded_number(self) -> str:
        """The order of the changes of one record, as text that sorts."""
        return self.sequence_number.zfill(_SEQUENCE_DIGITS)

    @property
    def is_copy(self) -> bool:
        """Whether the item was written long before, in another table: a restore brought it, and it is no news."""
        return self.action is ItemAction.INSERT and is_copy(self.item, from_epoch(self.occurred_at))

    @property
    def kind(self) -> str:
        """Of the item; `unknown` when it has none."""
        return str(self.item.get("kind", "unknown"))

    @property
    def event_id(self) -> str | None:
        """The event that this fact is, or that caused this change, as the lake and the log may know it."""
        return _id(self.item.get("event_id") or self.item.get("cause"))


def change_id(stream_arn: str, sequence_number: str) -> str:
    """The same for every delivery of a record, and for no other record of any stream.

    A stream's ARN carries the time of its creation, and sequence numbers are unique within a stream; `eventID` is
    documented as unique only.
    """
    return hashlib.sha256(f"{stream_arn}\n{sequence_number}".encode()).hexdigest()[:32]


def action_of(event_name: str, user_identity: Mapping[str, Any] | None) -> ItemAction:
    """`ValueError` for a name that DynamoDB does not document.

    Source: DynamoDB Developer Guide, "DynamoDB Streams and Time to Live".
    """
    by_service = bool(user_identity) and (user_identity or {}).get("principalId") == "dynamodb.amazonaws.com"
    return ItemAction.EXPIRED if event_name == "REMOVE" and by_service else ItemAction(event_name)


def table_of(stream_view_type: str) -> Table:
    """Which of our tables a stream belongs to: facts never change, so theirs has no old images.

    `KeyError` for a view that neither stream has. The kind of an item does not decide it: flows add new kinds.
    """
    return {"NEW_AND_OLD_IMAGES": Table.RECORDS, "NEW_IMAGE": Table.EVENTS}[stream_view_type]


def changed_fields(old: Item | None, new: Item | None) -> list[str]:
    """Names of the attributes that differ, sorted; the keys never do."""
    before, after = old or {}, new or {}
    names = {*before, *after} - {"pk", "sk"}
    if not before or not after:
        return sorted(names)
    return sorted(name for name in names if before.get(name, _ABSENT) != after.get(name, _ABSENT))


def audit_row(change: Change) -> dict[str, Any]:
    """The change as a row of `audit`, images redacted, their numbers exact on any way (`domain.lake.exact`)."""
    item = change.item
    return {
        "change_id": change.change_id,
        "table_name": change.table.value,
        "kind": change.kind,
        "pk": redaction.key_text(change.key.pk),
        "sk": change.key.sk,
        "workspace_id": _text(item.get("workspace_id")),
        "action": change.action.value,
        "changed_fields": changed_fields(change.old, change.new),
        "old_image": _image(change.old),
        "new_image": _image(change.new),
        "images_ref": None,
        "actor": _text(item.get("actor")),
        "cause": _id(item.get("cause")),
        "sequence_number": change.padded_number,
        "occurred_at": rfc3339_of(change.occurred_at),
        "created": change.occurred_at,
    }


def _image(item: Item | None) -> dict[str, Any] | None:
    return None if item is None else exact.written(redaction.image(item))


def _id(value: Any) -> str | None:
    return None if value is None else redaction.id_text(str(value))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


class _NoValue:
    pass


_ABSENT = _NoValue()

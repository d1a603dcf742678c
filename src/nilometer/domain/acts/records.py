"""What records of a workspace share: version, actor, cause, workspace, and an end that is checked on read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nilometer.domain.acts.act import Act
from nilometer.domain.store.times import epoch, rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Table, new_item, version_after, version_of


def record(act: Act, key: Key, kind: str, stored: Item | None, **attributes: Any) -> Put:
    """The whole record after `act`, guarded by what was read. `attributes` are all that it has besides."""
    item = new_item(
        key,
        kind,
        version_after(stored),
        workspace_id=act.workspace_id,
        **attributes,
        updated_at=rfc3339(act.now),
        cause=act.cause,
        actor=act.caller.user_id,
    )
    return Put(table=Table.RECORDS, item=item, expected=version_of(stored))


def alive(item: Item | None, now: datetime) -> Item | None:
    """`None` once its `expires_at` has come: DynamoDB removes an expired item up to two days late.

    Source: DynamoDB Developer Guide, "Using time to live (TTL)".
    """
    return item if item and ("expires_at" not in item or item["expires_at"] > epoch(now)) else None


def is_late(stored: Item | None, act: Act) -> bool:
    """Whether the record knows something newer than the event behind `act`."""
    return bool(stored and act.stamp and act.stamp <= stored.get("stamp", ""))


def stamp_after(stored: Item | None, act: Act) -> str:
    """The stamp of the record after `act`."""
    known: str = (stored or {}).get("stamp", "")
    return max(act.stamp or rfc3339(act.now), known)

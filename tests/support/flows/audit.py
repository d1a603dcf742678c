"""A change of a record as a row of the audit."""

from __future__ import annotations

from typing import Any

from nilometer.domain.lake.change import Change, ItemAction, audit_row
from nilometer.domain.store.writes import Item, Key, Table

TTL = {"principalId": "dynamodb.amazonaws.com", "type": "Service"}


def row(item: Item, action: ItemAction) -> dict[str, Any]:
    new, old = (item, None) if action is ItemAction.INSERT else (None, item)
    key = Key(item["pk"], item["sk"])
    change = Change(
        change_id="c",
        table=Table.RECORDS,
        action=action,
        key=key,
        old=old,
        new=new,
        sequence_number="1",
        occurred_at=1_795_000_000,
    )
    return audit_row(change)

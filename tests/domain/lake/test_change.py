"""A stream record in our words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nilometer.domain.lake.change import Change, ItemAction, action_of, audit_row, change_id, changed_fields
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.store.writes import Key, Table

ARN = "arn:aws:dynamodb:us-east-1:1:table/records/stream/2026-11-23T00:00:00.000"


def change(old: dict[str, Any] | None, new: dict[str, Any] | None, **changes: Any) -> Change:
    values: dict[str, Any] = {
        "change_id": "c1",
        "table": Table.RECORDS,
        "action": ItemAction.MODIFY,
        "key": Key("WORKSPACE#ws_1", "BILLING"),
        "old": old,
        "new": new,
        "sequence_number": "17",
        "occurred_at": 1795407245,
    }
    return Change(**values | changes)


def test_a_change_has_one_id_however_often_it_comes() -> None:
    assert change_id(ARN, "17") == change_id(ARN, "17")


def test_different_changes_have_different_ids() -> None:
    """Also those of a stream that began again."""
    assert (
        len({change_id(ARN, "17"), change_id(ARN, "18"), change_id(ARN + "1", "17"), change_id(ARN[:-1], "017")}) == 4
    )


@pytest.mark.parametrize("name", ["INSERT", "MODIFY", "REMOVE"])
def test_actions_are_dynamodbs(name: str) -> None:
    assert action_of(name, None).value == name


def test_a_removal_by_ttl_is_an_expiry() -> None:
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

    assert action_of("REMOVE", identity) is ItemAction.EXPIRED
    assert action_of("REMOVE", {"type": "Service", "principalId": "someone"}) is ItemAction.REMOVE


def test_an_unknown_action_is_no_guess() -> None:
    with pytest.raises(ValueError, match="DROP"):
        action_of("DROP", None)


def test_changed_fields_are_those_that_differ() -> None:
    old = {"pk": "a", "sk": "b", "same": 1, "gone": 1, "plan": "free", "limit": Decimal(1)}
    new = {"pk": "a", "sk": "b", "same": 1, "came": None, "plan": "team", "limit": Decimal("1.0")}

    assert changed_fields(old, new) == ["came", "gone", "plan"]
    assert changed_fields(None, new) == ["came", "limit", "plan", "same"]


def test_an_audit_row_has_every_column() -> None:
    """But the proof, which the relay adds."""
    row = audit_row(change({"kind": "billing"}, {"kind": "billing", "workspace_id": "ws_1", "cause": "evt_1"}))

    assert {*row, "proof"} == {column.name for column in AUDIT.columns if not column.stamped}
    assert (row["kind"], row["workspace_id"], row["cause"], row["actor"]) == ("billing", "ws_1", "evt_1", None)


def test_a_removal_is_known_by_what_was() -> None:
    row = audit_row(change({"kind": "billing", "workspace_id": "ws_1"}, None, action=ItemAction.REMOVE))

    assert (row["kind"], row["workspace_id"], row["new_image"]) == ("billing", "ws_1", None)


def test_sequence_numbers_sort_as_text() -> None:
    rows = [audit_row(change({}, {}, sequence_number=number))["sequence_number"] for number in ("9", "10", "1" * 40)]

    assert rows == sorted(rows)
    assert {len(row) for row in rows} == {40}

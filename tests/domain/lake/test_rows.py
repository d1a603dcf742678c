"""Facts become rows with every column that the writer does not stamp."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nilometer.domain.lake import rows
from nilometer.domain.lake.tables import PARTITION, STRIPE_EVENTS, TABLES, USAGE, DeltaTable, Type

STRIPE = {
    "event_id": "evt_1",
    "type": "invoice.paid",
    "livemode": True,
    "created": Decimal(1795407245),
    "source": "webhook",
    "received_at": "2026-11-23T04:14:06.120Z",
}
USED: dict[str, Any] = {
    "event_id": "u1",
    "source": "/s",
    "type": "usage.recorded.v1",
    "workspace_id": "ws_1",
    "meter": "api_calls",
    "quantity": Decimal("1E-9"),
    "time": "2026-11-23T04:14:05.123Z",
    "created": 1795407245,
    "received_at": "2026-11-23T04:14:06.120Z",
}


def incoming(table: DeltaTable) -> set[str]:
    return {column.name for column in table.columns if not column.stamped}


def test_a_stripe_row_has_every_column_but_the_payload() -> None:
    row = rows.stripe_event_row(STRIPE)

    assert set(row) == incoming(STRIPE_EVENTS) - {"payload", "payload_ref"}
    assert (row["account"], row["created"], row["created_at"]) == ("self", 1795407245, "2026-11-23T04:14:05.000Z")


def test_a_usage_row_has_every_column() -> None:
    row = rows.usage_row(USED)

    assert set(row) == incoming(USAGE)
    assert (row["quantity"], row["dimensions"]) == ("0.000000001", None)


@pytest.mark.parametrize("name", list(USED))
def test_half_a_fact_is_none(name: str) -> None:
    """It goes to the rejects with its reason instead of into the table with a hole."""
    with pytest.raises(KeyError):
        rows.usage_row({key: value for key, value in USED.items() if key != name})


@pytest.mark.parametrize(
    ("message", "announced"),
    [
        ("send calls", "send calls"),
        (
            "see events/schemas: Invalid enum value 'Ada' - at `$.role`",
            "see events/schemas: Invalid enum value '…' - at `$.role`",
        ),
        ("value \"Ada's 'x' born\" - at `$.role`", 'value "…" - at `$.role`'),
        ("type 'Ada Lovel…", "type '…'…"),
        ("Ada Lovelace is no member of ws_1", "… is no member of ws_1"),
        ("user_42 is no member", "user_42 is no member"),
        ("ada@example.com is no member", "[redacted]"),
    ],
)
def test_what_a_reject_quotes_is_not_announced(message: str, announced: str) -> None:
    """Whatever quotation marks stand in it, and where it was cut off; ids stay."""
    payload = '{"data": {"user_id": "Ada Lovelace", "n": 1e999999, "space": " "}, "id": "user_42"}'
    reject = {"sk": "s", "flow": "usage", "reason": "r", "message": message}

    assert rows.reject_announcement(reject | {"payload": payload})["message"] == announced
    assert rows.reject_announcement(reject | {"claim": "claims/1"})["message"] == "[redacted]"
    assert rows.reject_announcement(reject | {"payload": "{"})["reason"] == "r"


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_the_declaration_holds_together(table: DeltaTable) -> None:
    """What the writer's proof and every engine need of a table."""
    names = [column.name for column in table.columns]

    assert len(names) == len(set(names))
    assert set(table.key) <= {column.name for column in table.columns if not column.nullable}
    assert (table.column(PARTITION).type, table.column("created").type) == (Type.DATE, Type.INT64)
    assert all(column.nullable for column in table.columns if column.version > 1)
    assert all(column.meaning and column.source and column.example for column in table.columns)

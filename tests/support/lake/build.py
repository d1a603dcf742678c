"""Rows as the changes flow packs them and a lake that takes them, for tests and fuzz alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from deltalake import DeltaTable

from nilometer.aws.secrets import AuditKeys
from nilometer.domain.lake.proof import PROVEN_COLUMNS
from nilometer.domain.lake.tables import DeltaTable as DeclaredTable
from nilometer.flows.lake.packed import pack, unpack
from nilometer.flows.lake.proof import signed
from nilometer.lake.read.query import query
from nilometer.lake.write.append import Appended, Lake
from nilometer.lake.write.rows import decode

DAY = 86_400
START = 1_795_392_000  # 2026-11-23T00:00:00Z
KEY = "a-key-of-the-tests-as-long-as-keys-must-be"
KEYS = AuditKeys(lambda: KEY)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def usage(event_id: str, *, created: int = START, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "source": "/services/inference",
        "type": "usage.recorded.v1",
        "workspace_id": "ws_1",
        "meter": "api_calls",
        "quantity": "1.5",
        "unit": "call",
        "dimensions": {"model": "m"},
        "time": instant(created),
        "created": created,
        "period_start": "2026-11-01T00:00:00Z",
        "received_at": instant(created + 1),
    } | changes


def stripe_event(event_id: str, *, created: int = START, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": "invoice.paid",
        "account": "self",
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "created": created,
        "created_at": instant(created),
        "object_type": "invoice",
        "object_id": "in_1",
        "source": "webhook",
        "received_at": instant(created + 1),
        "payload": {"id": event_id, "amount": 5},
    } | changes


def change(change_id: str, *, created: int = START, **changes: Any) -> dict[str, Any]:
    return {
        "change_id": change_id,
        "table_name": "records",
        "kind": "billing",
        "pk": "WORKSPACE#ws_1",
        "sk": "BILLING",
        "workspace_id": "ws_1",
        "action": "INSERT",
        "changed_fields": ["plan"],
        "old_image": None,
        "new_image": {"plan": "team"},
        "sequence_number": "1".zfill(40),
        "occurred_at": instant(created),
        "created": created,
    } | changes


def packed(table: str, *rows: dict[str, Any]) -> str:
    """As the changes flow packs them; a name that only some rows have is null in the others."""
    names = dict.fromkeys(name for row in rows for name in row)
    bodies = messages(table, [{name: row.get(name) for name in names} for row in rows])
    return bodies[0] if bodies else json.dumps({"table": table, "rows": []})


def messages(table: str, rows: Iterable[dict[str, Any]]) -> list[str]:
    return list(pack(table, (json.dumps(row, separators=(",", ":")).encode() for row in rows)))


def unpacked(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(row) for row in unpack(json.dumps(body["columns"]).encode())]


def event(row: dict[str, Any]) -> str:
    """As the relay announces a change."""
    return unproven(proven(row))


def unproven(row: dict[str, Any]) -> str:
    """As whoever may put events on the bus could."""
    return json.dumps({"specversion": "1.0", "id": row["change_id"], "type": "record.changed.v1", "data": row})


def proven(row: dict[str, Any], *, key: str = KEY) -> dict[str, Any]:
    """With the proof of the relay."""
    return signed(dict.fromkeys(PROVEN_COLUMNS) | row, lambda value: json.dumps(value).encode(), key)


def append(lake: Lake, table: DeclaredTable, *rows: dict[str, Any], seconds: float = 30) -> Appended:
    decoded = decode(table, json.dumps(rows).encode())
    return lake.append(table, decoded, recorded_at=NOW, deadline=time.monotonic() + seconds)


def ask(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    return list(query(sql, lake_uri=lake.uri, storage_options=lake.storage_options).rows)


def version(lake: Lake, table: DeclaredTable) -> int:
    return DeltaTable(f"{lake.uri}/{table.name}").version()

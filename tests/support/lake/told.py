"""A store and a lake that get the same changes, or not."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.lake.build import NOW

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.change import Change, ItemAction, audit_row
from nilometer.domain.lake.tables import AUDIT, DeltaTable
from nilometer.domain.store.writes import Item, Key, Put, Table
from nilometer.flows.recovery.verify import Verification, VerifyReport
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

OLD = "2026-11-23T10:00:00.000Z"


class ToldWorld:
    """A store and a lake that get the same changes, or not."""

    def __init__(self, store: Store, objects: Objects, folder: Path) -> None:
        self.store = store
        self.lake = Lake(uri=str(folder), storage_options={})
        self.verification = Verification(
            store=store, ledger=Ledger(lake_uri=str(folder), storage_options={}), objects=objects, now=NOW
        )
        self._sequence = 0

    def put(self, item: Item, *, table: Table = Table.RECORDS) -> None:
        self.store.commit([Put(table=table, item=item)])

    def change(self, new: Item | None, old: Item | None = None, *, at: int = 1_795_420_000, **changed: Any) -> None:
        self._sequence += 1
        item = new or old or {}
        change = Change(
            change_id=str(self._sequence),
            table=Table.RECORDS,
            action=ItemAction.REMOVE if new is None else ItemAction.MODIFY if old else ItemAction.INSERT,
            key=Key(item["pk"], item["sk"]),
            old=old,
            new=new,
            sequence_number=str(self._sequence),
            occurred_at=at,
        )
        self.append(AUDIT, json.loads(json.dumps(audit_row(change) | changed, default=float)))

    def append(self, table: DeltaTable, *rows: dict[str, Any]) -> None:
        decoded = decode(table, json.dumps(rows).encode())
        self.lake.append(
            table, decoded, recorded_at=datetime(2026, 11, 23, 11, tzinfo=UTC), deadline=time.monotonic() + 9
        )

    def check(self, name: str, **changed: Any) -> VerifyReport:
        [report] = replace(self.verification, **changed).run([name])
        return report


def record(pk: str, **changed: Any) -> dict[str, Any]:
    return {"pk": pk, "sk": "BILLING", "kind": "billing", "version": 1, "updated_at": OLD} | changed


def counter(total: str, *, scope: str = "period", shard: int = 0, count: int = 1, **changed: Any) -> dict[str, Any]:
    start = "2026-11-01T00:00:00.000Z" if scope == "period" else "2026-11-23T00:00:00.000Z"
    return {
        "pk": "WORKSPACE#ws_1",
        "sk": f"USAGE#api_calls#{scope}#{shard}",
        "kind": "counter",
        "version": 1,
        "workspace_id": "ws_1",
        "meter": "api_calls",
        "scope": scope,
        "period_start": start,
        "shard": shard,
        "total": Decimal(total),
        "count": count,
        "updated_at": OLD,
    } | changed

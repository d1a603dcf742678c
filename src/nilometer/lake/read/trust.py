"""Which rows of the audit are history: those that the relay wrote and nobody voided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from nilometer.domain.lake.proof import PROVEN_COLUMNS, is_proven
from nilometer.domain.lake.tables import AUDIT
from nilometer.domain.store.times import from_epoch
from nilometer.lake.tables.proven import OVERLAP, proven_content
from nilometer.lake.tables.tables import added_at, table_uri

AUDITED = (*PROVEN_COLUMNS, "occurred_at", "proof")
"""The columns that decide whether a row is history."""

_JSON = ("changed_fields", "old_image", "new_image")
_BEFORE_PROOFS = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AuditJudge:
    """`since` is when proofs began in a table that is older than they are; None where every row needs one."""

    keys: tuple[str, ...]
    since: datetime | None
    voided: set[str] = field(default_factory=set)

    def is_trusted(self, row: Mapping[str, Any]) -> bool:
        """Whether a row proves its origin, or is older than proofs. Its JSON is text, its times are times."""
        if row["proof"] is None:
            return self.since is not None and row["occurred_at"] <= self.since + OVERLAP
        return self.is_proven(row)

    def is_proven(self, row: Mapping[str, Any]) -> bool:
        """Whether the relay wrote the row as it is."""
        if from_epoch(row["created"]) != row["occurred_at"]:
            return False
        decoded = {name: msgspec.json.decode(row[name] or "null") for name in _JSON}
        return is_proven(proven_content({**row, **decoded}), row["proof"], self.keys)


def proofs_since(lake_uri: str, storage_options: dict[str, str]) -> datetime | None:
    """When the audit got its column of proofs: None when it has had it from the start."""
    try:
        snapshot = DeltaTable(table_uri(lake_uri, AUDIT.name), storage_options=storage_options)
    except TableNotFoundError:
        return None
    names = [one.name for one in snapshot.schema().fields]
    return added_at(snapshot, "proof") if "proof" in names else _BEFORE_PROOFS

"""What a counter says, over all its shards."""

from __future__ import annotations

from decimal import Decimal

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.meter import Meter
from nilometer.domain.usage.total import used


def used_in(store: Store, workspace_id: str, meter: Meter, start: str, *, consistent: bool = False) -> Decimal:
    """Of the period that starts at `start` (RFC 3339): one query. Shards are not read at one moment."""
    key = keys.counters(workspace_id, meter.slug, start)
    return used(meter.aggregation, store.query(Table.RECORDS, key.pk, prefix=key.sk, consistent=consistent))

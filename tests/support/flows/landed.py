"""A lake that holds the usage of a store, and billing periods to count it by."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.rows import usage_row
from nilometer.domain.lake.tables import USAGE
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Put, Table
from nilometer.flows.recovery.verify import Verification, VerifyReport
from nilometer.lake.read.facts import usage_identities
from nilometer.lake.read.ledger import Ledger
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

LATER = NOW + timedelta(hours=1)


class Landed:
    """A lake with every fact that was inserted into a store."""

    def __init__(self, store: Store, folder: Path, objects: Objects) -> None:
        self._store = store
        self._lake = Lake(uri=str(folder), storage_options={})
        self.facts = partial(usage_identities, self._lake)
        self.ledger = Ledger(lake_uri=str(folder), storage_options={})
        self._verification = Verification(store=store, ledger=self.ledger, objects=objects, now=LATER)

    def land(self) -> None:
        """As the changes flow does: an insert of the fact, whatever was changed on it since."""
        rows = [usage_row(fact) for fact in self._store.scan(Table.EVENTS, kind="usage_event")]
        self._lake.append(
            USAGE,
            decode(USAGE, json.dumps(rows).encode()),
            recorded_at=datetime(2026, 11, 23, 11, tzinfo=UTC),
            deadline=time.monotonic() + 9,
        )

    def verify(self) -> list[VerifyReport]:
        return list(self._verification.run(["counters", "usage_events"]))


@pytest.fixture
def landed(ready: Store, tmp_path: Path, objects: Objects) -> Landed:
    return Landed(ready, tmp_path / "lake", objects)


def periods(store: Store, *bounds: tuple[datetime, datetime], version: int = 1) -> None:
    """The billing record's timeline as Stripe tells it by now."""
    key = keys.billing(WORKSPACE)
    timeline = [[epoch(start), epoch(end)] for start, end in bounds]
    named = {"pk": key.pk, "sk": key.sk, "kind": "billing", "workspace_id": WORKSPACE}
    item = {**named, "version": version, "periods": timeline}
    store.commit([Put(table=Table.RECORDS, item=item)])


def by_period(store: Store) -> dict[tuple[str, str], Any]:
    counters = store.query(Table.RECORDS, f"WORKSPACE#{WORKSPACE}", prefix="USAGE#")
    return {
        (item["meter"], item["period_start"][:10]): item["total"]
        for item in counters
        if item["scope"] == "period" and item["total"]
    }

"""A changed product, price or feature reaches every billing record that was folded with it.

The users of a product or price stand beside it (`USED#`), written with the record that began to use it and
conditioned on the version that it was folded with: a change commits before and is seen by the record, or after
and finds the record here.
"""

from __future__ import annotations

from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.domain.billing.record.inputs import catalog_key, with_catalog
from nilometer.domain.billing.record.item import catalog_entry, inputs_of, record_item
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Key, Put, Table, version_of
from nilometer.domain.stripe.event import FEATURES
from nilometer.flows.inbox.races import retrying

CATALOG = frozenset({"product", "price", FEATURES})


def refold(store: Store, name: str, *, now: datetime) -> int:
    """Brings `name` ("account/mode/product/id") into all records that use it; how many changed. May be repeated."""
    uses = store.query(Table.RECORDS, catalog_key(name).pk, prefix="USED#", consistent=True)
    return sum(_refold(store, name, Key(use["record_pk"], use["record_sk"]), now) for use in uses)


def _refold(store: Store, name: str, key: Key, now: datetime) -> bool:
    def attempt() -> bool:
        put = _decide(store, name, key, now)
        store.commit([put] if put else [])
        return put is not None

    return retrying(attempt)


def _decide(store: Store, name: str, key: Key, now: datetime) -> Put | None:
    """None when the record is gone or knows this version or a later one."""
    found = store.batch_get(Table.RECORDS, [key, catalog_key(name)], consistent=True)
    record, entry = found.get(key), catalog_entry(found.get(catalog_key(name)))
    if record is None or int(inputs_of(record).catalog.get(name, {"version": 0})["version"]) >= entry["version"]:
        return None
    item = record_item(
        key,
        with_catalog(inputs_of(record), {name: entry}),
        workspace_id=record["workspace_id"],
        version=int(record["version"]) + 1,
        cause=str(found[catalog_key(name)]["cause"]),
        updated_at=rfc3339(now),
    )
    return Put(table=Table.RECORDS, item=item, expected=version_of(record))

"""What a counter says, over all its shards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import islice

from nilometer.aws.dynamodb import Store
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Table
from nilometer.domain.usage.meter import Meter
from nilometer.domain.usage.total import used

PAGE = 100  # counters in one request: those of three months of one meter


def used_in(store: Store, workspace_id: str, meter: Meter, start: str, *, consistent: bool = False) -> Decimal:
    """Of the period that starts at `start` (RFC 3339): one query. Shards are not read at one moment."""
    key = keys.counters(workspace_id, meter.slug, start)
    return used(meter.aggregation, store.query(Table.RECORDS, key.pk, prefix=key.sk, consistent=consistent))


def counters_in(store: Store, workspace_id: str, start: str) -> Iterator[Item]:
    """All shards of all meters in the period that starts at `start` (RFC 3339), by meter; read consistently.

    At most two requests of `PAGE` counters a meter, however many years the workspace has: what lies between is passed
    over.
    """
    return _between(store, workspace_id, f"{start}#", f"{start}#~")


def periods_of(store: Store, workspace_id: str) -> Iterator[Item]:
    """All shards of all meters in all periods, by meter and period, without those of days; read consistently."""
    return _between(store, workspace_id, "", "DAY#")


def days_since(store: Store, workspace_id: str, day: date) -> Iterator[Item]:
    """All shards of all meters on `day` and those after it, by meter and day; read consistently."""
    return _between(store, workspace_id, f"DAY#{day}", "DAY#~", page=1000)


def _between(store: Store, workspace_id: str, first: str, end: str, *, page: int | None = None) -> Iterator[Item]:
    """Of each meter what begins at `first` or later and before `end`, in the order of its sort keys."""
    pk, after, page = keys.workspace(workspace_id).pk, "", page or PAGE
    while True:
        found = store.query(Table.RECORDS, pk, prefix=keys.COUNTERS, after=after, consistent=True, page=page)
        some = list(islice(found, page))
        for item in some:
            own = _own(item)
            if own + first <= item["sk"] < own + end:
                yield item
        if len(some) < page:
            return
        after, own = str(some[-1]["sk"]), _own(some[-1])
        if not own + first <= after < own + end:
            after = own + (first if after < own + first else "~")


def _own(item: Item) -> str:
    """What the sort keys of all counters of its meter begin with."""
    return keys.counters(str(item["workspace_id"]), str(item["meter"]), "").sk.removesuffix("#")

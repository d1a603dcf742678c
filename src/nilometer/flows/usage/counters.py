"""What a counter says, over all its shards."""

from __future__ import annotations

from collections.abc import Iterator
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
    pk, after = keys.workspace(workspace_id).pk, ""
    while True:
        found = store.query(Table.RECORDS, pk, prefix=keys.COUNTERS, after=after, consistent=True, page=PAGE)
        some = list(islice(found, PAGE))
        yield from (item for item in some if item["sk"].startswith(_own(item, start)))
        if len(some) < PAGE:
            return
        after = _next(some[-1], start)


def _own(item: Item, start: str) -> str:
    """What the sort keys of its meter's shards in the period begin with."""
    return keys.counters(str(item["workspace_id"]), str(item["meter"]), start).sk


def _next(last: Item, start: str) -> str:
    """Where the next counter of the period may follow: of the same meter, else behind its other periods and days."""
    own, sk = _own(last, start), str(last["sk"])
    if sk.startswith(own):
        return sk
    return own if sk < own else keys.counters(str(last["workspace_id"]), str(last["meter"]), "~").sk

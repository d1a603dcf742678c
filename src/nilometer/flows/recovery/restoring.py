"""Restore: what two restored tables hold, into the tables of a stack that runs.

DynamoDB restores a point in time into new tables, which have no stream, no expiry and no functions. A stack deployed
beside them has all of that and is empty; this copies every item as it is, tokens, hashes and billing's evidence too.

What if the process dies in the middle, or the stack works meanwhile? Every put demands that its key is free, so a
second call goes on, and what the stack wrote since is never replaced. Facts go first: an event that comes again after
its counter was copied must find its fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from nilometer.aws.dynamodb import TRANSACTION_LIMIT, Store
from nilometer.aws.items import marshal
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Absent, Item, Key, Put, Table
from nilometer.flows.inbox.races import retrying

_TRANSACTION_BYTES = 3_000_000  # of 4 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRestored:
    """Of one table: items found, put by this call, there already and equal, there and different (kept), expired."""

    table: Table
    found: int = 0
    put: int = 0
    equal: int = 0
    different: int = 0
    expired: int = 0


def restore(source: Store, target: Store, *, now: datetime, dry_run: bool = False) -> Iterator[TableRestored]:
    """Both tables, the facts first. Atomic per 100 items or 3 MB; repeatable.

    What has expired is left out, for DynamoDB would remove it. `dry_run` counts and writes nothing.
    """
    for table in (Table.EVENTS, Table.RECORDS):
        counted = TableRestored(table=table)
        for batch in _batches(source.scan(table)):
            living = [item for item in batch if item.get("expires_at", epoch(now) + 1) > epoch(now)]
            put, equal, different = _copied(target, table, living, dry_run=dry_run)
            counted = TableRestored(
                table=table,
                found=counted.found + len(batch),
                put=counted.put + put,
                equal=counted.equal + equal,
                different=counted.different + different,
                expired=counted.expired + len(batch) - len(living),
            )
        yield counted


def _copied(target: Store, table: Table, items: Sequence[Item], *, dry_run: bool) -> tuple[int, int, int]:
    """How many were put, were equal, and differ. Of a lost answer the next look finds what was put."""
    before = _stored(target, table, items)
    missing = [item for item in items if _key(item) not in before]
    if missing and not dry_run:
        retrying(partial(_put, target, table, missing))
    equal = sum(before.get(_key(item)) == item for item in items)
    return len(missing), equal, len(before) - equal


def _put(target: Store, table: Table, items: Sequence[Item]) -> None:
    """Those that are still missing. `Cancelled` when somebody else put one: look again."""
    there = _stored(target, table, items)
    target.commit([Put(table=table, item=item, expected=Absent()) for item in items if _key(item) not in there])


def _stored(target: Store, table: Table, items: Sequence[Item]) -> dict[Key, dict[str, Any]]:
    return target.batch_get(table, map(_key, items), consistent=True) if items else {}


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """As many as one transaction takes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        more = _size(item)
        if batch and (len(batch) == TRANSACTION_LIMIT or size + more > _TRANSACTION_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch


def _size(item: Item) -> int:
    """About what DynamoDB counts, and rather more."""
    return len(repr(marshal(item)))


def _key(item: Item) -> Key:
    return Key(item["pk"], item["sk"])

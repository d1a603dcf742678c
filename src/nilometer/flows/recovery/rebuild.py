"""Rebuild: what the records were at a time, from the audit alone, into a table of its own. Streams both ways.

For reading what was, beyond the 35 days of DynamoDB's point-in-time recovery. The lake never knew personal data, tokens
and secrets, so they cannot come back:

* A redacted attribute comes back as the text `[redacted]`. That holds for the evidence of registers as well.
* A record under a token's hash comes back under another hash: nobody can use the token.
* The inputs of billing records come back as readable maps, not as the bytes that the billing flow reads.

Every such record is counted as incomplete. Therefore no stack can run on a rebuilt table as it is: registers and
billing records come from Stripe's events (`nilometer replay`), sessions and tokens from their users.

What if it dies in the middle? The same call with `resume` goes on: an equal record is passed over, a different one is
never replaced, because every put demands that its key is free.

Restore copies what DynamoDB restored to a point in time into the tables of a stack that runs. Such restored tables have
no stream, no expiry and no functions; a stack deployed beside them has all of that and is empty. Every item is copied
as it is: tokens, hashes and billing's evidence too. A second call goes on, and what the stack wrote since is never
replaced. Facts go first: an event that comes again after its counter was copied must find its fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from nilometer.aws.dynamodb import TRANSACTION_LIMIT, Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake import redaction
from nilometer.domain.recovery.rebuild import incomplete
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.together import together
from nilometer.domain.store.writes import Absent, Item, Key, Put, Table
from nilometer.errors import Cancelled, Refused, Rejected
from nilometer.flows.inbox.races import retrying
from nilometer.flows.recovery.history import images_in, parsed
from nilometer.lake.read.ledger import Ledger

SETTLES = timedelta(minutes=2)  # until a change has reached the lake, when nothing is wrong
_TRANSACTION_BYTES = 3_000_000  # of 4 MB
_ITEM_BYTES = 400_000
SHOWN = 100  # records that are named; all are counted

Image = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """How many records existed, and by kind; how many of them were put by this call, and which are not as they were.

    `too_large` counts those whose image, unlike the record, is larger than the 400 KB that DynamoDB takes, `lost` those
    whose image lay beside the lake and is gone; `left_out` are the first hundred of both.
    """

    records: int = 0
    written: int = 0
    incomplete: int = 0
    too_large: int = 0
    lost: int = 0
    left_out: list[Key] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    incomplete_fields: dict[str, int] = field(default_factory=dict)  # `kind.attribute`


def rebuild(
    target: Store,
    *,
    ledger: Ledger,
    objects: Objects,
    as_of: datetime,
    now: datetime,
    dry_run: bool = False,
    resume: bool = False,
) -> Rebuilt:
    """Puts every record that existed at the end of the second `as_of` into the `records` of `target`.

    Atomic per 100 records or 3 MB; repeatable with `resume`. `Refused` when the table is not empty (without `resume`)
    or holds another record under a key, and for an `as_of` of which the lake may not know all. `dry_run` only counts.
    """
    if as_of > now - SETTLES:
        raise Refused(f"the lake may lack changes of the last {SETTLES.seconds} seconds; ask for an earlier time")
    if not (dry_run or resume) and next(target.scan(Table.RECORDS), None) is not None:
        raise Refused("the table is not empty; give an empty one, or resume a run of the same time")
    rebuilt = Rebuilt()
    for batch in _batches(_images(ledger, objects, as_of, rebuilt)):
        _count(rebuilt, batch)
        fitting = [image for image in batch if _size(image) <= _ITEM_BYTES]
        if not dry_run:
            rebuilt.written += retrying(partial(_put, target, fitting))
    return rebuilt


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

    What has expired is left out, for DynamoDB would remove it. Lists read the table until a pass over the copy is
    whole. `dry_run` counts and writes nothing.
    """
    for table in (Table.EVENTS, Table.RECORDS):
        counted = TableRestored(table=table)
        for batch in _batches(item for item in source.scan(table) if _key(item) != keys.LISTS):
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
    if not dry_run:
        target.delete_all(Table.EVENTS, [keys.LISTS])


def _copied(target: Store, table: Table, items: Sequence[Item], *, dry_run: bool) -> tuple[int, int, int]:
    """How many were put, were equal, and differ. Of a lost answer the next look finds what was put."""
    before = _stored(target, table, items)
    missing = [item for item in items if _key(item) not in before]
    if missing and not dry_run:
        retrying(partial(_put_missing, target, table, missing))
    equal = sum(before.get(_key(item)) == item for item in items)
    return len(missing), equal, len(before) - equal


def _put_missing(target: Store, table: Table, items: Sequence[Item]) -> None:
    """Those that are still missing. `Cancelled` when somebody else put one: look again."""
    there = _stored(target, table, items)
    target.commit([Put(table=table, item=item, expected=Absent()) for item in items if _key(item) not in there])


def _stored(target: Store, table: Table, items: Sequence[Item]) -> dict[Key, dict[str, Any]]:
    return target.batch_get(table, map(_key, items), consistent=True) if items else {}


def _images(ledger: Ledger, objects: Objects, as_of: datetime, rebuilt: Rebuilt) -> Iterator[Image]:
    """Redacted by today's rules: an older row must not bring back what a newer rule hides. What is gone is counted."""
    for pk, sk, image, reference, _ in ledger.latest_images(as_of=as_of):
        try:
            found = images_in(objects.get(reference))[1] if reference else parsed(image)
        except Rejected:  # a restore from the lake alone has not what lay beside it
            rebuilt.records += 1
            rebuilt.lost += 1
            _leave_out(rebuilt, Key(pk, sk))
            continue
        yield redaction.image(found or {})


def _leave_out(rebuilt: Rebuilt, key: Key) -> None:
    rebuilt.left_out += [key] if len(rebuilt.left_out) < SHOWN else []


def _batches(images: Iterable[Image]) -> Iterator[list[Image]]:
    """As many as one transaction takes."""
    return together(images, _size, most=TRANSACTION_LIMIT, most_bytes=_TRANSACTION_BYTES)


def _size(image: Image) -> int:
    """In bytes, as JSON: about what DynamoDB counts, and rather more."""
    return len(msgspec.json.encode(image))


def _free_put(image: Image) -> Put:
    return Put(table=Table.RECORDS, item=image, expected=Absent())


def _put(target: Store, batch: Sequence[Image]) -> int:
    """How many of the batch were missing. `Cancelled` when the answer is to look again."""
    try:
        target.commit([_free_put(image) for image in batch])
    except Cancelled as error:
        if not error.condition_failed:
            raise
        missing = _missing(target, batch)
        target.commit([_free_put(image) for image in missing])
        return len(missing)
    return len(batch)


def _missing(target: Store, batch: Sequence[Image]) -> list[Image]:
    stored = target.batch_get(Table.RECORDS, map(_key, batch), consistent=True)
    for image in batch:
        if stored.get(_key(image), image) != image:
            raise Refused(f"the table has another record under {' '.join(_key(image))}; nothing of it was replaced")
    return [image for image in batch if _key(image) not in stored]


def _key(image: Mapping[str, Any]) -> Key:
    return Key(image["pk"], image["sk"])


def _count(rebuilt: Rebuilt, batch: Sequence[Image]) -> None:
    for image in batch:
        lost = incomplete(image)
        kind = str(image.get("kind", "unknown"))
        rebuilt.records += 1
        rebuilt.kinds[kind] = rebuilt.kinds.get(kind, 0) + 1
        if _size(image) > _ITEM_BYTES:
            rebuilt.too_large += 1
            _leave_out(rebuilt, _key(image))
        rebuilt.incomplete += bool(lost)
        for name in (f"{kind}.{attribute}" for attribute in lost):
            rebuilt.incomplete_fields[name] = rebuilt.incomplete_fields.get(name, 0) + 1

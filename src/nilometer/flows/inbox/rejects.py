"""Keeping what was refused: nothing that arrived is thrown away.

What if the process dies between keeping and answering? The message comes again and the same item is put again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.events.reject import INLINE_BYTES, Reject, item
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Key, Put, Table
from nilometer.errors import Cancelled, Rejected

TOGETHER = 50  # rejects in one transaction
TOGETHER_BYTES = 3_000_000  # a transaction holds 4 MB
ATTEMPTS = 5


def keep(store: Store, objects: Objects, rejects: Iterable[Reject], *, now: datetime) -> None:
    """Stores every reject; a payload over 100 KB goes to `rejects/<flow>/<sha256>` in the bucket first.

    Not atomic as a whole, and harmless when repeated. `Unavailable`: deliver the messages again.
    """
    items = (_item(reject, objects, now) for reject in rejects)
    for chunk in _chunks({Key(one["pk"], one["sk"]): one for one in items}.values()):
        _commit(store, [Put(table=Table.EVENTS, item=one) for one in chunk])


def refuse(
    flow: str,
    message: Message,
    error: Rejected,
    *,
    store: Store,
    objects: Objects,
    now: datetime,
    fields: dict[str, str | int],
) -> Outcome:
    """`REJECTED` once the message is kept, `FAILED` when it could not be and must come again; `fields` say why.

    They have `event_id` and `source` when these could be read.
    """
    fields["reason"] = error.reason
    reject = Reject(
        flow=flow,
        reason=error.reason,
        message=str(error),
        payload=message.body,
        event_id=str(fields["event_id"]) if "event_id" in fields else None,
        source=str(fields["source"]) if "source" in fields else None,
    )
    try:
        keep(store, objects, [reject], now=now)
    except Exception as failure:  # noqa: BLE001  # whatever it is, the message must not be lost
        fields["error"] = type(failure).__name__
        return Outcome.FAILED
    return Outcome.REJECTED


def listed(store: Store, flow: str, *, since: datetime, now: datetime) -> Iterator[Item]:
    """What was refused on the UTC days from `since` to `now`, the newest day first; what has expired is left out.

    An item has `reason`, `message`, `event_id`, `source`, `workspace_id`, `received_at`, and `payload` or `claim`.
    """
    for back in range((now.date() - since.date()).days + 1):
        partition = keys.reject(flow, now - timedelta(days=back), "").pk
        kept = [item for item in store.query(Table.EVENTS, partition) if item["expires_at"] > epoch(now)]
        yield from sorted(kept, key=lambda item: str(item["received_at"]), reverse=True)


def _item(reject: Reject, objects: Objects, now: datetime) -> Item:
    if reject.size <= INLINE_BYTES:
        return item(reject, now=now)
    content = reject.payload.encode()
    return item(reject, now=now, claim=objects.put(f"rejects/{reject.flow}", content))


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    size = 0
    for one in items:
        length = 2_000 + 4 * len(one.get("payload", ""))
        if chunk and (len(chunk) == TOGETHER or size + length > TOGETHER_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += length
    if chunk:
        yield chunk


def _commit(store: Store, puts: Sequence[Put]) -> None:
    """Unconditional, so only a twin that keeps the same reject at this moment can cancel it."""
    for attempt in range(ATTEMPTS):
        try:
            return store.commit(puts)
        except Cancelled:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
    return None

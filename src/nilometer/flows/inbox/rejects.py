"""Keeping what was refused: nothing that arrived is thrown away.

What if the process dies between keeping and answering? The message comes again and the same item is put again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.reject import INLINE_BYTES, Reject, item
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.together import together
from nilometer.domain.store.writes import Item, Key, Put, Table
from nilometer.flows.inbox.races import retrying

TOGETHER = 50  # rejects in one transaction
TOGETHER_BYTES = 3_000_000  # a transaction holds 4 MB
FRAME_BYTES = 6_000  # more than what stands around a payload: the message, ids, names


def keep(store: Store, objects: Objects, rejects: Iterable[Reject], *, now: datetime) -> None:
    """Stores every reject; a payload over 100 KB goes to `rejects/<flow>/<sha256>` in the bucket first.

    Not atomic as a whole, and harmless when repeated. `Unavailable`: deliver the messages again.
    """
    items = (_item(reject, objects, now) for reject in rejects)
    by_key = {Key(one["pk"], one["sk"]): one for one in items}
    for chunk in together(by_key.values(), _length, most=TOGETHER, most_bytes=TOGETHER_BYTES):
        # Unconditional, so only a worker that keeps the same reject at this moment can cancel it.
        retrying(partial(store.commit, [Put(table=Table.EVENTS, item=one) for one in chunk]))


def listed(store: Store, flow: str, *, since: datetime, now: datetime) -> Iterator[Item]:
    """What was refused on the UTC days from `since` to `now`, the newest day first; what has expired is left out.

    An item has `reason`, `message`, `event_id`, `source`, `workspace_id`, `received_at`, and `payload` or `claim`.
    """
    for back in range((now.date() - since.date()).days + 1):
        partition = keys.reject(flow, now - timedelta(days=back), "").pk
        kept = [item for item in store.query(Table.EVENTS, partition) if item["expires_at"] > epoch(now)]
        yield from sorted(kept, key=lambda item: str(item["received_at"]), reverse=True)


def _item(reject: Reject, objects: Objects, now: datetime) -> Item:
    content = reject.content
    if len(content) <= INLINE_BYTES:
        return item(reject, now=now)
    return item(reject, now=now, claim=objects.put(f"rejects/{reject.flow}", content))


def _length(stored: Item) -> int:
    return FRAME_BYTES + len(stored.get("payload", "").encode())

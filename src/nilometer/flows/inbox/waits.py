"""What waits in the queues: written down when it begins to wait, and each time that it comes and still waits.

Nothing depends on it: where it cannot be written, the message waits all the same. Nobody removes it either, which
would cost every message that comes again a write: who lists it asks whether the message was settled since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.waiting import Waiting, waiting_of, waits
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.inbox.parcel import Parcel, arrived_at, identity_of

TOGETHER = 50  # in one transaction: an item has at most 4 KB


def note(store: Store, flow: str, parcels: Sequence[Parcel[Any]], *, patience: timedelta, now: datetime) -> None:
    """Writes down who waits. Never raises: this is for people to see."""
    try:
        puts = [waits(one.message.id, _waiting(flow, one, patience, now)) for one in parcels]
        for start in range(0, len(puts), TOGETHER):
            store.commit(puts[start : start + TOGETHER])
    except Exception:  # noqa: BLE001  # the batch has its outcome without it
        return


def listed_waits(store: Store, flow: str, *, now: datetime) -> Iterator[Waiting]:
    """What has begun to wait and may wait still; some of it may be settled by now."""
    for item in store.query(Table.EVENTS, keys.waits(flow, "").pk):
        if (found := waiting_of(item)).until > now:
            yield found


def _waiting(flow: str, parcel: Parcel[Any], patience: timedelta, now: datetime) -> Waiting:
    since = arrived_at(parcel.message.body, sent_at=parcel.message.sent_at, now=now)
    return Waiting(
        flow=flow,
        reason=str(parcel.fields["reason"]),
        message=str(parcel.fields["error"]),
        since=since,
        until=since + patience,
        **identity_of(parcel.message.body)._asdict(),
    )

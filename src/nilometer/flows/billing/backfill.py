"""Backfill of events: Stripe's own events of the last thirty days, through the flow that takes them from the bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Key, Table
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.billing.batch import arrived
from nilometer.flows.billing.reconcile import ReconcileApi

Handle = Callable[[Sequence[Message]], list[Result]]


def backfill_events(
    api: ReconcileApi, handle: Handle, *, since: int, after: str | None = None
) -> Iterator[tuple[str, int]]:
    """Feeds Stripe's own events of the last thirty days through `handle`, which drops what is known.

    Yields (event id, accepted) after each page: the id resumes the run as `after`. `Unavailable` when a page failed,
    so that nothing is skipped.
    """
    for page in api.events(since=since, after=after):
        results = handle([Message(str(event["id"]), _envelope(event)) for event in page.objects])
        failed = [result.message_id for result in results if result.outcome is Outcome.FAILED]
        if failed:
            then = f"go on after {after}" if after else "begin again"
            raise Unavailable(f"{len(failed)} events were not taken, first {failed[0]}; {then}")
        if page.objects:
            after = str(page.objects[-1]["id"])
            yield after, sum(result.outcome is Outcome.ACCEPTED for result in results)


def unknown_events(store: Store, events: Sequence[dict[str, Any]], *, objects: Objects, now: datetime) -> int:
    """How many of a page of Stripe's events are no facts here, without those that would be rejected."""
    keys = {key for event in events if (key := _fact(event, objects, now))}
    return len(keys) - len(store.batch_get(Table.EVENTS, keys))


def _fact(event: dict[str, Any], objects: Objects, now: datetime) -> Key | None:
    try:
        return arrived(_envelope(event), objects=objects, now=now).fact_key
    except Rejected:
        return None


def _envelope(event: dict[str, Any]) -> str:
    """As the bus would bring it, so that it takes the same way."""
    envelope = {
        "id": event["id"],
        "detail-type": event["type"],
        "source": "nilometer.backfill",
        "time": rfc3339_of(event["created"]),
        "detail": event,
    }
    return msgspec.json.encode(envelope).decode()

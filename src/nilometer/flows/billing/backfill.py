"""Backfill of events: Stripe's own events of the last thirty days, through the flow that takes them from the bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.store.keys import stripe_event
from nilometer.domain.store.times import rfc3339_of
from nilometer.domain.store.writes import Table
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Unavailable
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


def unknown_events(store: Store, events: Sequence[dict[str, Any]]) -> int:
    """How many of a page of Stripe's events are no facts here."""
    keys = [stripe_event(str(event.get("account") or OWN_ACCOUNT), str(event["id"])) for event in events]
    return len(keys) - len(store.batch_get(Table.EVENTS, keys))


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

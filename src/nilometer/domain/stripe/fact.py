"""A Stripe event as a fact: kept once, forty days, with its payload as it came."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.writes import new_item
from nilometer.domain.stripe.event import Notification, StripeEvent

KEPT = timedelta(days=40)  # longer than Stripe resends (3 days) or lists events (30 days)
INLINE_BYTES = 100_000


def fact_item(
    event: StripeEvent | Notification,
    *,
    payload: bytes | None,
    claim: str | None,
    source: str,
    received_at: str,
    expires_at: int,
) -> dict[str, Any]:
    """`payload` is the compressed JSON; `claim` the object key where a larger one rests."""
    key = keys.stripe_event(event.scope.account, event.id)
    snapshot = isinstance(event, StripeEvent)
    return new_item(
        key,
        "stripe_event",
        event_id=event.id,
        type=event.type,
        account=event.scope.account,
        livemode=event.scope.livemode,
        api_version=event.api_version if isinstance(event, StripeEvent) else None,
        created=event.created,
        object_type=event.object_type,
        object_id=event.object_id,
        customer_id=event.customer_id if isinstance(event, StripeEvent) else None,
        request_id=event.request_id if isinstance(event, StripeEvent) else None,
        source=source,
        received_at=received_at,
        expires_at=expires_at,
        **({"claim": claim} if claim else {"payload": payload}),
        **({} if snapshot else {"thin": True}),
    )

"""One message on its way to an outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.billing.group import Evidence
from nilometer.domain.events.outcome import Message, Outcome
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import Notification, StripeEvent
from nilometer.domain.stripe.fact import INLINE_BYTES, KEPT, fact_item
from nilometer.domain.stripe.payload import pack
from nilometer.domain.stripe.registers.register import of_event
from nilometer.errors import Unavailable
from nilometer.flows.billing.wire import Arrived, arrived


@dataclass(eq=False)
class Task:
    """One message on its way to an outcome. Asked for its event only after it has arrived."""

    message: Message
    objects: Objects
    now: datetime
    outcome: Outcome | None = None
    fields: dict[str, str | int] = field(default_factory=dict)

    def settle(self, outcome: Outcome, **fields: str | int) -> None:
        self.outcome = outcome
        self.fields |= fields

    def fail(self, error: Exception) -> None:
        """It is delivered again. The text of an unexpected error may hold anything, so only its name is told."""
        self.settle(Outcome.FAILED, error=str(error) if isinstance(error, Unavailable) else type(error).__name__)

    @cached_property
    def arrived(self) -> Arrived:
        return arrived(self.message.body, self.objects.get)

    @property
    def event(self) -> StripeEvent | Notification:
        return self.arrived.event

    @property
    def fact_key(self) -> Key:
        return keys.stripe_event(self.event.scope.account, self.event.id)

    @property
    def owner(self) -> tuple[str, str]:
        """What it must be decided together with: its customer, else its object."""
        customer_id = self.event.customer_id if isinstance(self.event, StripeEvent) else None
        return ("customer", customer_id) if customer_id else ("object", self.event.object_id or self.event.id)

    @cached_property
    def evidence(self) -> Evidence:
        event = self.event
        snapshot = isinstance(event, StripeEvent) and event.object_id
        return Evidence(
            element=of_event(event) if snapshot and isinstance(event, StripeEvent) else None,
            object_type=event.object_type or "",
            object_id=event.object_id,
            fact=self._fact(),
            fetch=isinstance(event, Notification) and event.snapshot_event is None,
            second=event.created,
        )

    def _fact(self) -> Item:
        raw = self.arrived.raw
        payload = pack(msgspec.json.format(raw, indent=-1))
        claim = None
        if len(payload) > INLINE_BYTES:
            claim = self.arrived.claim or self.objects.put("claims", raw)
        return fact_item(
            self.event,
            payload=payload,
            claim=claim,
            source=self.arrived.source,
            received_at=self.arrived.received_at,
            expires_at=epoch(self.now + KEPT),
        )

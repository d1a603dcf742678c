"""A Stripe event as it arrives: snapshot, claim or thin notification, decoded and bounded, with its evidence and fact.

`detail` of a bus envelope is the event itself, as Stripe sent it, from the webhook or from Stripe's own partner
source; a claim stands for a body that was too large for the bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from nilometer.aws.s3 import Objects
from nilometer.domain.billing.group import Evidence
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, parse_rfc3339
from nilometer.domain.store.writes import Item, Key
from nilometer.domain.stripe.event import OWN_ACCOUNT, Notification, Scope, StripeEvent, check, check_bounds
from nilometer.domain.stripe.fact import INLINE_BYTES, KEPT, fact_item
from nilometer.domain.stripe.payload import pack
from nilometer.domain.stripe.registers.register import of_event
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import decode, read

_PARTNER = "aws.partner/stripe.com"
_BACKFILL = "nilometer.backfill"


class _StripeData(msgspec.Struct):
    """`object` is absent in a thin event whose API answer was forwarded."""

    object: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    previous_attributes: dict[str, Any] | None = None


class _Related(msgspec.Struct):
    id: str
    type: str


class _StripeWire(msgspec.Struct):
    """Both generations: `created` is a number in a snapshot event, a text in a thin one."""

    id: str
    type: str
    created: int | str
    object: str = "event"
    livemode: bool = False
    account: str | None = None
    context: str | None = None
    api_version: str | None = None
    data: _StripeData | msgspec.UnsetType | None = msgspec.UNSET
    request: dict[str, Any] | str | None = None
    related_object: _Related | None = None
    snapshot_event: str | None = None
    claim: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArrivedEvent:
    """One event with the bytes it came in. `claim`: where these rest, when they were too large to travel."""

    event: StripeEvent | Notification
    raw: bytes
    claim: str | None
    source: str
    received_at: str
    objects: Objects
    now: datetime

    @property
    def fact_key(self) -> Key:
        """In the events table. Its insertion makes the event count once."""
        return keys.stripe_event(self.event.scope.account, self.event.id)

    @property
    def owner(self) -> tuple[str, str]:
        """What it must be decided together with: its customer, else its object."""
        customer_id = self.event.customer_id if isinstance(self.event, StripeEvent) else None
        return ("customer", customer_id) if customer_id else ("object", self.event.object_id or self.event.id)

    @cached_property
    def evidence(self) -> Evidence:
        """What it says of its object, and the fact. A fact too large for an item puts its payload into the bucket."""
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
        payload = pack(msgspec.json.format(self.raw, indent=-1))
        claim = None
        if len(payload) > INLINE_BYTES:
            claim = self.claim or self.objects.put("claims", self.raw)
        return fact_item(
            self.event,
            payload=payload,
            claim=claim,
            source=self.source,
            received_at=self.received_at,
            expires_at=epoch(self.now + KEPT),
        )


def arrived(body: str, *, objects: Objects, now: datetime) -> ArrivedEvent:
    """`Rejected` with `invalid_schema`, `too_large` or `too_far_in_future` for what is not a Stripe event within our
    bounds, `wrong_mode`, or `claim_broken` of `objects.get`."""
    envelope = decode(body)
    raw = bytes(envelope.detail)
    wire = _wire(raw)
    claim = wire.claim
    if claim:
        raw = objects.get(claim)
        wire = _wire(raw)
    event = event_of(wire)
    check_bounds(event, now=epoch(now))
    return ArrivedEvent(
        event=event,
        raw=raw,
        claim=claim,
        source=_source(envelope.source),
        received_at=envelope.time,
        objects=objects,
        now=now,
    )


def event_of(wire: _StripeWire) -> StripeEvent | Notification:
    """A snapshot, or a thin notification (`v2.core.event`). `Rejected` (`invalid_schema`) when it is neither."""
    if not wire.id or not wire.type:
        raise Rejected("invalid_schema", "the event has no id or no type")
    if wire.object == "v2.core.event":
        return _notification(wire)
    if not isinstance(wire.data, _StripeData) or isinstance(wire.data.object, msgspec.UnsetType):
        raise Rejected("invalid_schema", f"event {wire.id}: a snapshot event has `data.object`")
    if isinstance(wire.created, str):
        raise Rejected("invalid_schema", f"event {wire.id}: a snapshot event has a number as `created`")
    event = StripeEvent(
        id=wire.id,
        type=wire.type,
        scope=Scope(account=wire.account or OWN_ACCOUNT, livemode=wire.livemode),
        created=wire.created,
        object=wire.data.object,
        previous=wire.data.previous_attributes,
        api_version=wire.api_version,
        request_id=_request(wire.request),
    )
    check(event)
    return event


def _wire(raw: bytes) -> _StripeWire:
    return read(raw, _StripeWire, "not a Stripe event")


def _notification(wire: _StripeWire) -> Notification:
    """A thin event's `context` is the Connect account."""
    related = wire.related_object
    created = epoch(parse_rfc3339(wire.created)) if isinstance(wire.created, str) else wire.created
    return Notification(
        id=wire.id,
        type=wire.type,
        scope=Scope(account=wire.context or wire.account or OWN_ACCOUNT, livemode=wire.livemode),
        created=created,
        object_type=related.type if related else None,
        object_id=related.id if related else None,
        snapshot_event=wire.snapshot_event,
    )


def _request(request: dict[str, Any] | str | None) -> str | None:
    """A plain id until 2017, a hash since. It is shown only, so one that is no plain id is left out."""
    value = request.get("id") if isinstance(request, dict) else request
    return value if isinstance(value, str) and len(value) <= _REQUEST_LENGTH else None


def _source(source: str) -> str:
    if source.startswith(_PARTNER):
        return "partner"
    return "backfill" if source == _BACKFILL else "webhook"


_REQUEST_LENGTH = 255

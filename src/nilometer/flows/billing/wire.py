"""Stripe's events as they travel: snapshot, claim and thin notification, decoded at the door.

`detail` of a bus envelope is the event itself, as Stripe sent it, from the webhook or from Stripe's own partner
source; a claim stands for a body that was too large for the bus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from nilometer.domain.store.times import epoch, parse_rfc3339
from nilometer.domain.stripe.event import OWN_ACCOUNT, Notification, Scope, StripeEvent, check
from nilometer.errors import Rejected
from nilometer.flows.inbox.envelope import decode

_PARTNER = "aws.partner/stripe.com"
_BACKFILL = "nilometer.backfill"


class _Data(msgspec.Struct):
    object: dict[str, Any]
    previous_attributes: dict[str, Any] | None = None


class _Related(msgspec.Struct):
    id: str
    type: str


class _Wire(msgspec.Struct):
    """Both generations: `created` is a number in a snapshot event, a text in a thin one."""

    id: str
    type: str
    created: int | str
    object: str = "event"
    livemode: bool = False
    account: str | None = None
    context: str | None = None
    api_version: str | None = None
    data: _Data | msgspec.UnsetType = msgspec.UNSET
    request: dict[str, Any] | str | None = None
    related_object: _Related | None = None
    snapshot_event: str | None = None
    claim: str | None = None


_DECODER = msgspec.json.Decoder(_Wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One event with the bytes it came in. `claim`: where these rest, when they were too large to travel."""

    event: StripeEvent | Notification
    raw: bytes
    claim: str | None
    source: str
    received_at: str


def arrived(body: str, fetch: Callable[[str], bytes]) -> Arrived:
    """`Rejected("invalid_schema")` for what is not a Stripe event, `wrong_mode`, or `claim_broken` of `fetch`."""
    envelope = decode(body)
    raw = bytes(envelope.detail)
    wire = _wire(raw)
    if wire.claim:
        claim, raw = wire.claim, fetch(wire.claim)
        wire = _wire(raw)
    else:
        claim = None
    return Arrived(
        event=event_of(wire), raw=raw, claim=claim, source=_source(envelope.source), received_at=envelope.time
    )


def event_of(wire: _Wire) -> StripeEvent | Notification:
    if not wire.id or not wire.type:
        raise Rejected("invalid_schema", "the event has no id or no type")
    if wire.object == "v2.core.event":
        return _notification(wire)
    if isinstance(wire.data, msgspec.UnsetType) or isinstance(wire.created, str):
        raise Rejected("invalid_schema", f"event {wire.id}: a snapshot event has `data` and a number as `created`")
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


def _wire(raw: bytes) -> _Wire:
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Rejected("invalid_schema", f"not a Stripe event: {error}") from error


def _notification(wire: _Wire) -> Notification:
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
    """A plain id until 2017, a hash since."""
    value = request.get("id") if isinstance(request, dict) else request
    return value if isinstance(value, str) else None


def _source(source: str) -> str:
    if source.startswith(_PARTNER):
        return "partner"
    return "backfill" if source == _BACKFILL else "webhook"

"""Webhook: verify Stripe's signature on the raw bytes, publish the event; 2xx only when the bus has it.

What if the process dies after PutEvents and before the answer? Stripe delivers again, and billing
drops the duplicate. What if the bus is away? 500, and Stripe delivers again for three days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from nilometer.aws.eventbridge import Bus, BusEntry
from nilometer.aws.s3 import Objects
from nilometer.domain.stripe.signature import verify
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.inbox.envelope import check_depth

SOURCE = "nilometer.webhook"
CLAIM_BYTES = 200_000  # a larger body travels as a reference: the bus is billed per 64 KB
BODY_BYTES = 4_000_000  # Lambda takes 6 MB of base64


class Secrets(Protocol):
    """`aws.secrets.SigningSecrets`: those by which a signature may be valid, several while one is rotated."""

    def current(self) -> tuple[str, ...]:
        """From the process's cache."""

    def refresh(self) -> tuple[str, ...]:
        """Read again, for a signature that no cached secret made; at most every ten seconds."""


class WebhookEvent(msgspec.Struct):
    """What the webhook must know of an event; the rest travels as it came.

    `data` is absent in a thin (v2) notification, which names a `related_object` instead.
    """

    id: str
    type: str
    object: str
    created: int | str
    livemode: bool = False
    account: str | None = None
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The bus has taken the event."""

    event_id: str
    type: str
    claimed: bool


def receive(body: bytes, signature: str, *, now: datetime, secrets: Secrets, bus: Bus, objects: Objects) -> Published:
    """`Rejected` with `too_large`, `invalid_signature` or `invalid_json`; `Unavailable` names the event."""
    if len(body) > BODY_BYTES:
        raise Rejected("too_large", f"the body has {len(body)} bytes; at most {BODY_BYTES} are taken")
    _verify(body, signature, now=now, secrets=secrets)
    event = _decode(body)
    claimed = len(body) > CLAIM_BYTES
    try:
        detail = _claim(event, body, objects) if claimed else body.decode()
        bus.publish([BusEntry(source=SOURCE, detail_type=event.type, detail=detail)])
    except Unavailable as error:
        raise Unavailable(f"{event.id} was not taken: {error}") from error
    return Published(event.id, event.type, claimed)


def _verify(body: bytes, signature: str, *, now: datetime, secrets: Secrets) -> None:
    """A secret may have been rotated since it was cached, so a mismatch is tried once with fresh ones."""
    known = secrets.current()
    try:
        verify(body, signature, secrets=known, now=now)
    except Rejected:
        fresh = secrets.refresh()
        if fresh == known:
            raise
        verify(body, signature, secrets=fresh, now=now)


def _decode(body: bytes) -> WebhookEvent:
    check_depth(body)
    try:
        event = msgspec.json.decode(body.decode(), type=WebhookEvent)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected("invalid_json", f"the body is not a Stripe event: {error}") from error
    if event.object not in {"event", "v2.core.event"} or not event.id or not event.type:
        raise Rejected("invalid_json", f"the body is a {event.object[:40]!r}, not a Stripe event")
    return event


def _claim(event: WebhookEvent, body: bytes, objects: Objects) -> str:
    """The body rests in S3 under its hash; the event carries the reference."""
    envelope = msgspec.to_builtins(event) | {"claim": objects.put("claims", body)}
    return msgspec.json.encode(envelope).decode()

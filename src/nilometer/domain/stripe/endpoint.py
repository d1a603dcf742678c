"""Webhook endpoints at Stripe, and what our metadata on them says. Source: docs.stripe.com/api/webhook_endpoints.

Stripe shows a signing secret once, when the endpoint is made, and its API cannot roll one. So an endpoint is marked
when its secret is stored, by a digest of it, and rotation replaces the endpoint:

    one ── next made, secret stored, marked ──▶ two, both sending ── overlap over ──▶ old deleted, secret removed
     ▲          │ died before the mark: who has                              │ died: `replaces` names what was there,
     └──────────┘ its secret? it is made again                               └─▶ the next run removes the secret

While two send, each event comes twice and counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nilometer.domain.acts.secret import hash_of

OVERLAP = timedelta(days=3)
"""As long as Stripe tries again what the old endpoint has not delivered; with the endpoint these tries would end."""

_STACK, _CONNECT, _SECRET = "nilometer_stack", "nilometer_connect", "nilometer_secret"
_REPLACES, _REPLACES_SECRET = "nilometer_replaces", "nilometer_replaces_secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPlace:
    """What an endpoint is for: one stack, by one URL, for one's own events or those of all Connect accounts."""

    stack: str
    url: str
    connect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """`secret` is the digest of the stored signing secret, None until it is stored; `place` is None if not ours."""

    id: str
    url: str
    enabled: bool
    api_version: str | None
    events: tuple[str, ...]
    created: int
    place: EndpointPlace | None
    secret: str | None
    replaces: str | None
    replaces_secret: str | None

    def ready(self, stored: Sequence[str]) -> bool:
        """Whether its secret is among the stored ones."""
        return self.secret is not None and self.secret in {digest(secret) for secret in stored}

    def due(self, now: datetime, overlap: timedelta) -> bool:
        """Whether what it replaces may end."""
        return now.timestamp() >= self.created + overlap.total_seconds()


def endpoint(told: Mapping[str, Any]) -> WebhookEndpoint:
    """From Stripe's webhook endpoint object. `place` is None without our metadata: it is not ours."""
    metadata: Mapping[str, str] = told.get("metadata") or {}
    place = None
    if metadata.get(_STACK):
        place = EndpointPlace(stack=metadata[_STACK], url=told["url"], connect=metadata.get(_CONNECT) == "true")
    return WebhookEndpoint(
        id=told["id"],
        url=told["url"],
        enabled=told["status"] == "enabled",
        api_version=told.get("api_version"),
        events=tuple(sorted(told["enabled_events"])),
        created=told["created"],
        place=place,
        secret=metadata.get(_SECRET) or None,
        replaces=metadata.get(_REPLACES) or None,
        replaces_secret=metadata.get(_REPLACES_SECRET) or None,
    )


def new_metadata(place: EndpointPlace, replaced: WebhookEndpoint | None) -> dict[str, str]:
    """Of an endpoint whose secret nobody has yet."""
    replaces = {_REPLACES: replaced.id, _REPLACES_SECRET: replaced.secret or ""} if replaced else {}
    return {_STACK: place.stack, _CONNECT: "true" if place.connect else "false", **replaces}


def stored_metadata(secret: str) -> dict[str, str]:
    """The mark that this secret is stored: its digest, for an update of the endpoint's metadata."""
    return {_SECRET: digest(secret)}


def alone_metadata() -> dict[str, str]:
    """Once nothing is left of what it replaced: an empty value removes a key."""
    return {_REPLACES: "", _REPLACES_SECRET: ""}


def digest(secret: str) -> str:
    """Names a signing secret in the open: it is random, so a part of its hash says nothing of it."""
    return hash_of(secret)[:16]

"""Making and replacing webhook endpoints at Stripe; their signing secrets go straight into the stack's secret.

What if the process dies after Stripe made the endpoint and before its secret is stored? The secret is lost, since
Stripe shows it once. The endpoint has our metadata and no mark; the next run finds it and makes it again. Before the
mark? The same: a stored secret without its endpoint verifies nothing that is sent. What if Stripe's answer is lost?
Asked again under the same idempotency key, it gives the same answer. What if two run at once? Then two endpoints send,
each event counts once, and the end of the next rotation leaves one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from nilometer.aws.secrets import SigningSecrets
from nilometer.domain.stripe.endpoint import (
    EndpointPlace,
    WebhookEndpoint,
    alone_metadata,
    digest,
    endpoint,
    new_metadata,
    stored_metadata,
)
from nilometer.domain.stripe.handled import API_VERSION, EVENT_TYPES
from nilometer.errors import NilometerError, Refused

ALL_EVENTS = ("*",)


class EndpointApi(Protocol):
    """`stripe_api.StripeApi`, with a key that may write webhook endpoints."""

    def webhook_endpoints(self) -> Iterator[dict[str, Any]]:
        """Stripe's objects, newest first, without their secrets."""

    def create_webhook_endpoint(self, *, idempotency_key: str, **params: Any) -> dict[str, Any]:
        """With its `secret`, which Stripe shows only here. The same key has the same answer for a day."""

    def update_webhook_endpoint(self, endpoint_id: str, **params: Any) -> dict[str, Any]:
        """Stripe merges `metadata` into what is there. May be repeated."""

    def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """Succeeds also when the endpoint is gone already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """`secret` is None for an endpoint that was there already. Never to be logged."""

    endpoint: WebhookEndpoint
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """`made` on the first run; later `ended`, or `ends` when it is too early."""

    current: WebhookEndpoint
    made: str | None = None
    ended: tuple[str, ...] = ()
    ends: datetime | None = None


class Endpoints:
    """The endpoints of one place, at Stripe and in Secrets Manager."""

    def __init__(self, api: EndpointApi, signing: SigningSecrets, place: EndpointPlace) -> None:
        self._api = api
        self._signing = signing
        self._place = place

    def all(self) -> list[WebhookEndpoint]:
        """Those of the account, ours or not, newest first."""
        return [endpoint(told) for told in self._api.webhook_endpoints()]

    def stored(self) -> tuple[str, ...]:
        """The signing secrets in Secrets Manager now, read without a cache; perhaps none."""
        return self._signing.stored()

    def lost(self) -> list[WebhookEndpoint]:
        """Of this place, with a secret that nobody has."""
        return self._mine()[1]

    def create(self, *, events: Sequence[str] = EVENT_TYPES) -> Made:
        """The one of this place, made unless it is there; what was lost is made again. Doing it again changes nothing.

        `Refused` when one is there that is pinned to another version: `rotate` replaces it.
        """
        ready, lost = self._mine()
        self._delete(lost)
        if not ready:
            return self._make(events, None)
        if ready[0].api_version != API_VERSION:
            raise Refused(f"{ready[0].id} sends API version {ready[0].api_version}; rotate-secret replaces it")
        if set(ready[0].events) != set(events):
            updated = self._api.update_webhook_endpoint(ready[0].id, enabled_events=list(events))
            return Made(endpoint=endpoint(updated))
        return Made(endpoint=ready[0])

    def rotate(self, *, now: datetime, overlap: timedelta) -> Rotation:
        """One step: makes the next endpoint, or ends the one before when the overlap is over."""
        ready, lost = self._mine()
        if not ready:
            raise Refused("this stack has no endpoint whose secret is stored; make one with stripe endpoint create")
        self._delete(lost)
        current = ready[0]
        if not current.replaces:
            made = self._make(current.events if current.events == ALL_EVENTS else EVENT_TYPES, current)
            return Rotation(current=made.endpoint, made=made.secret)
        if not current.due(now, overlap):
            return Rotation(current=current, ends=datetime.fromtimestamp(current.created, UTC) + overlap)
        return Rotation(current=self._end(ready[1:], current), ended=tuple(one.id for one in ready[1:]))

    def _mine(self) -> tuple[list[WebhookEndpoint], list[WebhookEndpoint]]:
        """Those with a stored secret, newest first, and those whose secret is lost."""
        stored = self.stored()
        mine = [one for one in self.all() if one.place == self._place and one.enabled]
        mine.sort(key=lambda one: (one.replaces is not None, one.created), reverse=True)
        return [one for one in mine if one.ready(stored)], [one for one in mine if not one.ready(stored)]

    def _delete(self, ended: Sequence[WebhookEndpoint]) -> None:
        for one in ended:
            self._api.delete_webhook_endpoint(one.id)

    def _make(self, events: Sequence[str], replaced: WebhookEndpoint | None) -> Made:
        told = self._api.create_webhook_endpoint(
            idempotency_key=f"nilometer-{secrets.token_hex(16)}",
            url=self._place.url,
            connect=self._place.connect,
            api_version=API_VERSION,
            enabled_events=list(events),
            description=f"nilometer, stack {self._place.stack}",
            metadata=new_metadata(self._place, replaced),
        )
        secret = str(told["secret"])
        self._keep(told, secret)
        return Made(
            endpoint=endpoint(self._api.update_webhook_endpoint(told["id"], metadata=stored_metadata(secret))),
            secret=secret,
        )

    def _keep(self, told: Mapping[str, Any], secret: str) -> None:
        """An endpoint whose secret cannot be stored would send what nobody can verify."""
        try:
            self._signing.add(secret)
        except NilometerError:
            self._api.delete_webhook_endpoint(told["id"])
            raise

    def _end(self, old: Sequence[WebhookEndpoint], current: WebhookEndpoint) -> WebhookEndpoint:
        """The endpoints first: while they send, their secrets must verify."""
        self._delete(old)
        gone = {current.replaces_secret, *(one.secret for one in old)}
        self._signing.remove(lambda secret: digest(secret) in gone)
        return endpoint(self._api.update_webhook_endpoint(current.id, metadata=alone_metadata()))

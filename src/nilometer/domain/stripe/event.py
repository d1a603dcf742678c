"""A Stripe event as the core sees it: whose it is, when, and the object before and after.

Source: https://docs.stripe.com/api/events/object. Decoding the JSON is the flow's; nothing here knows bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nilometer.errors import Rejected

OWN_ACCOUNT = "self"  # the platform itself; Connect accounts have an id
SUMMARY = "entitlements.active_entitlement_summary"
FEATURES = "entitlements.features"
"""Ours: all features of an account as one object, whose id is `FEATURES` too. No event tells of them."""

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What must never mix: live with test, one Connect account with another."""

    account: str = OWN_ACCOUNT
    livemode: bool = False

    def __str__(self) -> str:
        return f"{self.account}/{'live' if self.livemode else 'test'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeEvent:
    """A snapshot event. `created` has whole seconds, so events of one second cannot be ordered by it."""

    id: str
    type: str
    scope: Scope
    created: int
    object: Object
    previous: Object | None = None
    api_version: str | None = None
    request_id: str | None = None

    @property
    def object_type(self) -> str:
        return str(self.object.get("object", ""))

    @property
    def object_id(self) -> str | None:
        """None when nothing is kept of the object: `invoice.upcoming`, `balance.available`."""
        if self.object_type == SUMMARY:
            return self.customer_id
        return as_id(self.object.get("id"))

    @property
    def customer_id(self) -> str | None:
        """A detached payment method names its customer in the previous attributes only."""
        if self.object_type == "customer":
            return as_id(self.object.get("id"))
        return as_id(self.object.get("customer")) or as_id((self.previous or {}).get("customer"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A thin (v2) event: names the object that changed; its state must be fetched.

    `snapshot_event` is the snapshot twin, when Stripe sends both.
    """

    id: str
    type: str
    scope: Scope
    created: int
    object_type: str | None
    object_id: str | None
    snapshot_event: str | None = None


def as_id(value: object) -> str | None:
    """A reference is an id or, expanded, the object itself."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def check(event: StripeEvent) -> None:
    """`Rejected("invalid_schema")` for what no event of Stripe looks like."""
    if event.created <= 0:
        raise Rejected("invalid_schema", f"event {event.id}: created is {event.created}; expected seconds since 1970")
    if not event.object_type:
        raise Rejected("invalid_schema", f"event {event.id}: data.object has no `object`; is it a Stripe event?")
    if bool(event.object.get("livemode", event.scope.livemode)) != event.scope.livemode:
        raise Rejected("wrong_mode", f"event {event.id} and its object differ in livemode; they must never mix")

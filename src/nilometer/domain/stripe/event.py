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

ID_BYTES = 255  # of an id that Stripe or a service chooses; it is part of a key
FUTURE_SECONDS = 300  # how far a clock of Stripe's may be ahead of ours

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
        """Stripe's `object` of the object, such as `invoice`; empty when it has none."""
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
    """A reference is an id or, expanded, the object itself; None for what is neither, or longer than an id may be."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and value and fits(value) else None


def fits(name: str) -> bool:
    """Whether it may be part of a key: at most `ID_BYTES` of UTF-8."""
    return len(name) <= ID_BYTES and (name.isascii() or len(name.encode(errors="replace")) <= ID_BYTES)


def check_bounds(event: StripeEvent | Notification, *, now: int) -> None:
    """`Rejected("too_large")` for ids beyond our bounds, `too_far_in_future` for what is dated after `now`.

    An event of a test clock carries the clock's time, which runs ahead; only test mode has such clocks.
    """
    version = event.api_version if isinstance(event, StripeEvent) else None
    named = (event.id, event.type, event.scope.account, event.object_type, event.object_id, version)
    if not all(fits(name or "") for name in named):
        raise Rejected("too_large", f"id, type, account and the object's id have at most {ID_BYTES} bytes each")
    clocked = isinstance(event, StripeEvent) and not event.scope.livemode and event.object.get("test_clock")
    if event.created > now + FUTURE_SECONDS and not clocked:
        raise Rejected(
            "too_far_in_future", f"event {event.id}: created is more than 5 minutes ahead; check the sender's clock"
        )


def check(event: StripeEvent) -> None:
    """`Rejected("invalid_schema")` for what no event of Stripe looks like."""
    if event.created <= 0:
        raise Rejected("invalid_schema", f"event {event.id}: created is {event.created}; expected seconds since 1970")
    if not event.object_type:
        raise Rejected("invalid_schema", f"event {event.id}: data.object has no `object`; is it a Stripe event?")
    for name in ("id", "customer"):
        if event.object.get(name) and as_id(event.object[name]) is None:
            raise Rejected("invalid_schema", f"event {event.id}: `{name}` is no id of at most {ID_BYTES} bytes")
    if bool(event.object.get("livemode", event.scope.livemode)) != event.scope.livemode:
        raise Rejected("wrong_mode", f"event {event.id} and its object differ in livemode; they must never mix")

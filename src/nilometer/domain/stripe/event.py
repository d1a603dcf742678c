"""A Stripe event: whose it is, when, the object before and after in the newest API version's shape, and its fact.

Sources: https://docs.stripe.com/api/events/object, and for the rules of API versions
https://docs.stripe.com/upgrades, from 2020-08-27 on. Decoding the JSON is the flow's; nothing here knows bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from nilometer.domain.store import keys
from nilometer.domain.store.writes import new_item
from nilometer.errors import Rejected

OWN_ACCOUNT = "self"  # the platform itself; Connect accounts have an id
SUMMARY = "entitlements.active_entitlement_summary"
FEATURES = "entitlements.features"
"""Ours: all features of an account as one object, whose id is `FEATURES` too. No event reports them."""
METER_ERRORS = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
"""What Stripe says of meter events that it could not count. Source: docs.stripe.com/api/v2/core/event-types."""
THIN = "v2.core.event"
"""`object` of a thin event, and the type under which one whose own content counts is asked for."""

ID_BYTES = 255  # of an id that Stripe or a service chooses; it is part of a key
FUTURE_SECONDS = 300  # how far a clock of Stripe's may be ahead of ours
KEPT = timedelta(days=40)  # of a fact: longer than Stripe resends (3 days) or lists events (30 days)
INLINE_BYTES = 100_000  # of a compressed payload; a larger one rests in the bucket

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What must never mix: live with test, one Connect account with another."""

    account: str = OWN_ACCOUNT
    livemode: bool = False

    def __str__(self) -> str:
        return f"{self.account}/{'live' if self.livemode else 'test'}"


@dataclass(frozen=True, kw_only=True)
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

    @cached_property
    def object_type(self) -> str:
        """Stripe's `object` of the object, such as `invoice`; empty when it has none."""
        return str(self.object.get("object", ""))

    @cached_property
    def object_id(self) -> str | None:
        """None when nothing is kept of the object: `invoice.upcoming`, `balance.available`."""
        if self.object_type == SUMMARY:
            return self.customer_id
        return as_id(self.object.get("id"))

    @cached_property
    def customer_id(self) -> str | None:
        """A detached payment method names its customer in the previous attributes only."""
        if self.object_type == "customer":
            return as_id(self.object.get("id"))
        return as_id(self.object.get("customer")) or as_id((self.previous or {}).get("customer"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A thin (v2) event: names the object that changed; its state must be fetched.

    `snapshot_event` is the snapshot event of the same change, when Stripe sends both.
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
    if type(value) is str and value.isascii():
        return value if 0 < len(value) <= ID_BYTES else None
    if not isinstance(value, str):
        value = value.get("id") if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value and fits(value) else None


def account_in(context: str) -> str:
    """The account of an event's `context`: a path from the receiver's account to that of the object, `acct_a/acct_b`.
    Source: https://docs.stripe.com/context."""
    return context.rpartition("/")[2]


def fits(name: str) -> bool:
    """Whether it may be part of a key: at most `ID_BYTES` of UTF-8."""
    return len(name) <= ID_BYTES and (name.isascii() or len(name.encode(errors="replace")) <= ID_BYTES)


def check_bounds(event: StripeEvent | Notification, *, now: int) -> None:
    """`Rejected("too_large")` for ids beyond our bounds, `too_far_in_future` for what is dated after `now`.

    An event of a test clock carries the clock's time, which runs ahead; only test mode has such clocks.
    """
    version = event.api_version if isinstance(event, StripeEvent) else None
    texts = (event.id, event.type, event.scope.account, event.object_type, event.object_id, version)
    if any(name and not fits(name) for name in texts):
        raise Rejected("too_large", f"id, type, account and the object's id have at most {ID_BYTES} bytes each")
    clocked = isinstance(event, StripeEvent) and not event.scope.livemode and event.object.get("test_clock")
    if event.created > now + FUTURE_SECONDS and not clocked:
        named = "" if event.scope.livemode else ", and its object names no test clock"
        raise Rejected(
            "too_far_in_future",
            f"event {event.id}: created is more than 5 minutes ahead{named}; check the sender's clock",
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


def normalise(snapshot: Object, api_version: str | None) -> Object:
    """`snapshot` as the newest API version would show it; `api_version` is the event's own.

    Every rule is idempotent and adds only what is missing, so an unknown version gets all of them.
    """
    day = (api_version or "")[:10]
    for until, rule in _RULES.get(str(snapshot.get("object")), ()):
        if day < until:
            snapshot = rule(snapshot)
    return snapshot


def overlay(snapshot: Object, previous: Object) -> dict[str, Any]:
    """The object before the event: hashes key by key, everything else whole, as `previous_attributes` is made."""
    before = dict(snapshot)
    for name, old in previous.items():
        new = before.get(name)
        before[name] = overlay(new, old) if isinstance(old, Mapping) and isinstance(new, Mapping) else old
    return before


def _items_of(subscription: Object) -> list[Object]:
    items = subscription.get("items")
    data = items.get("data") if isinstance(items, Mapping) else None
    return [item for item in data if isinstance(item, Mapping)] if isinstance(data, list) else []


def _periods_to_items(subscription: Object) -> Object:
    """2025-03-31.basil: the period belongs to each item."""
    known = {n: subscription[n] for n in ("current_period_start", "current_period_end") if n in subscription}
    return _with_items(subscription, lambda item: {**known, **item}) if known else subscription


def _plan_to_price(subscription: Object) -> Object:
    """2020-08-27: an item names a price; before, a plan with the same id."""
    return _with_items(subscription, _priced)


def _priced(item: Object) -> Object:
    plan = item.get("plan")
    return {**item, "price": plan} if item.get("price") is None and isinstance(plan, Mapping) else item


def _with_items(subscription: Object, change: Callable[[Object], Object]) -> Object:
    items = subscription.get("items")
    if not isinstance(items, Mapping):
        return subscription
    return {**subscription, "items": {**items, "data": [change(item) for item in _items_of(subscription)]}}


def _subscription_to_parent(invoice: Object) -> Object:
    """2025-03-31.basil: `invoice.subscription` → `parent.subscription_details.subscription`."""
    if invoice.get("parent") or not invoice.get("subscription"):
        return invoice
    told = invoice.get("subscription_details")
    details = {"subscription": invoice["subscription"], **(told if isinstance(told, Mapping) else {})}
    return {**invoice, "parent": {"type": "subscription_details", "subscription_details": details}}


def _lines_to_parents(invoice: Object) -> Object:
    """2025-03-31.basil: a line names its price, subscription and taxes as `_line_to_parent` says."""
    lines = invoice.get("lines")
    data = lines.get("data") if isinstance(lines, Mapping) else None
    if not isinstance(lines, Mapping) or not isinstance(data, list):
        return invoice
    moved = [_line_to_parent(line) if isinstance(line, Mapping) else line for line in data]
    return {**invoice, "lines": {**lines, "data": moved}}


def _line_to_parent(line: Object) -> Object:
    """`price` (before 2020-08-27 a plan with its id) → `pricing.price_details`; `subscription`, `subscription_item` and
    `proration` → `parent.subscription_item_details`; `tax_amounts` → `taxes`."""
    added: dict[str, Any] = {}
    price = line.get("price") or line.get("plan")
    if price and not line.get("pricing"):
        product = price.get("product") if isinstance(price, Mapping) else None
        added["pricing"] = {"type": "price_details", "price_details": {"price": price, "product": product}}
    details = {name: line[name] for name in ("subscription", "subscription_item", "proration") if line.get(name)}
    if details and not line.get("parent"):
        added["parent"] = {"type": "subscription_item_details", "subscription_item_details": details}
    if line.get("tax_amounts") and not line.get("taxes"):
        added["taxes"] = line["tax_amounts"]
    return {**line, **added} if added else line


def _transitions(invoice: Object) -> Object:
    """Before 2019-12-03 and in some exports `status` was given by booleans."""
    if invoice.get("status") or "paid" not in invoice:
        return invoice
    return {**invoice, "status": "paid" if invoice["paid"] else "open"}


_RULES: Mapping[str, tuple[tuple[str, Callable[[Object], Object]], ...]] = {
    "subscription": (("2020-08-28", _plan_to_price), ("2025-03-31", _periods_to_items)),
    "invoice": (
        ("2020-08-28", _transitions),
        ("2025-03-31", _subscription_to_parent),
        ("2025-03-31", _lines_to_parents),
    ),
}


def fact_item(
    event: StripeEvent | Notification,
    *,
    payload: bytes | None,
    claim: str | None,
    source: str,
    received_at: str,
    expires_at: int,
) -> dict[str, Any]:
    """Kept once, forty days. `payload` is the compressed JSON; `claim` the object key where a larger one rests."""
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

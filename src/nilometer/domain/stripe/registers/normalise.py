"""Stripe's objects of older API versions in the shape of 2026-10-28.endive: what moved is put where it is now.

Every rule is idempotent and adds only what is missing, so an unknown version gets all of them.
Source: https://docs.stripe.com/upgrades, from 2020-08-27 on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nilometer.domain.stripe.event import Object

_Rule = Callable[[Object], Object]


def normalise(snapshot: Object, api_version: str | None) -> Object:
    """`snapshot` as the newest version would show it; `api_version` is the event's own."""
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


def _transitions(invoice: Object) -> Object:
    """Before 2019-12-03 and in some exports `status` was told by booleans."""
    if invoice.get("status") or "paid" not in invoice:
        return invoice
    return {**invoice, "status": "paid" if invoice["paid"] else "open"}


_RULES: Mapping[str, tuple[tuple[str, _Rule], ...]] = {
    "subscription": (("2020-08-28", _plan_to_price), ("2025-03-31", _periods_to_items)),
    "invoice": (("2020-08-28", _transitions), ("2025-03-31", _subscription_to_parent)),
}

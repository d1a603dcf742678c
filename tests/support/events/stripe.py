"""Short ways to write Stripe events in tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from nilometer.domain.stripe.event import Scope, StripeEvent
from nilometer.domain.stripe.registers.register import Register, merge, of_event, register
from nilometer.domain.stripe.registers.resolve import Resolution, resolve

_IDS = itertools.count()


def event(kind: str, second: int, before: dict[str, Any] | None = None, /, **state: Any) -> StripeEvent:
    """An event of type `kind`; `before` are the previous attributes."""
    objects = {"customer.subscription": "subscription", "entitlements.active_entitlement_summary": None}
    prefix = kind.rpartition(".")[0]
    name = objects.get(prefix, prefix) or prefix
    identity = {} if name == "entitlements.active_entitlement_summary" else {"id": f"{name}_1"}
    return StripeEvent(
        id=f"evt_{next(_IDS):08}",
        type=kind,
        scope=Scope(),
        created=second,
        object={
            **identity,
            "object": name,
            "created": 1,
            **({} if name == "customer" else {"customer": "cus_1"}),
            **state,
        },
        previous=before,
        api_version="2026-10-28.endive",
    )


def updated(second: int, before: dict[str, Any], /, **state: Any) -> StripeEvent:
    return event("customer.subscription.updated", second, before, **state)


def created(second: int, /, **state: Any) -> StripeEvent:
    return event("customer.subscription.created", second, **state)


def items(*quantities: int) -> dict[str, Any]:
    """A subscription's items, each of one price."""
    return {"data": [{"id": f"si_{n}", "quantity": q, "price": {"id": f"price_{n}"}} for n, q in enumerate(quantities)]}


def merged(events: Iterable[StripeEvent]) -> Register:
    result = Register()
    for one in events:
        result = merge(result, register([of_event(one)]))
    return result


def resolved(events: Iterable[StripeEvent]) -> Resolution:
    resolution = resolve(merged(events))
    assert resolution
    return resolution


def in_any_order(*events: StripeEvent) -> Resolution:
    """The one resolution of all orders and of a duplicate; fails when they differ."""
    found = [resolved(order) for order in itertools.permutations(events)]
    found += [resolved([*events, one]) for one in events]
    assert all(one == found[0] for one in found)
    return found[0]

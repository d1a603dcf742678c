"""What a register keeps of an object: a whitelist per type. No name, email, address or card number is in any.

A projection holds no nulls: absent and null are one value within it. What is not projected cannot make a conflict:
states that differ elsewhere only are one node of the walk in `resolve`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from nilometer.domain.stripe.event import FEATURES, SUMMARY, Object, as_id
from nilometer.domain.stripe.registers.normalise import items_of

Projection = Mapping[str, Any]

_CATALOG_KEYS = ("plan", "limits", "seats", "features")


def project(snapshot: Object) -> dict[str, Any]:
    """Of a normalised snapshot. An object of an unknown type keeps the fields that most types share."""
    kind = str(snapshot.get("object", ""))
    kept = {"id": as_id(snapshot.get("id")), "object": kind, **_PROJECTIONS.get(kind, _any)(snapshot)}
    return {name: value for name, value in kept.items() if value is not None and value != {}}


def digest(projection: Projection) -> str:
    """Names a state: equal projections, equal digests, on every machine."""
    text = json.dumps(projection, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _take(*names: str) -> Callable[[Object], dict[str, Any]]:
    return lambda snapshot: {name: snapshot.get(name) for name in names}


def _subscription(snapshot: Object) -> dict[str, Any]:
    items = snapshot.get("items")
    return {
        **_plain_subscription(snapshot),
        "customer": as_id(snapshot.get("customer")),
        "latest_invoice": as_id(snapshot.get("latest_invoice")),
        "schedule": as_id(snapshot.get("schedule")),
        "default_payment_method": as_id(snapshot.get("default_payment_method")),
        "cancel_at_period_end": bool(snapshot.get("cancel_at_period_end")) or None,
        "pause": _pause(snapshot.get("pause_collection")),
        "workspace_id": _workspace(snapshot),
        "items": [_item(item) for item in items_of(snapshot)],
        "has_more": (isinstance(items, Mapping) and bool(items.get("has_more"))) or None,
    }


_plain_subscription = _take(
    "status", "created", "cancel_at", "canceled_at", "ended_at", "trial_start", "trial_end", "collection_method"
)


def _item(item: Object) -> dict[str, Any]:
    price = item.get("price")
    price = price if isinstance(price, Mapping) else {"id": price}
    kept = {
        "id": as_id(item.get("id")),
        "price": as_id(price),
        "product": as_id(price.get("product")),
        "quantity": item.get("quantity"),
        "current_period_start": item.get("current_period_start"),
        "current_period_end": item.get("current_period_end"),
        "metadata": _catalog_metadata(price) or None,
    }
    return {name: value for name, value in kept.items() if value is not None}


def _pause(pause: object) -> dict[str, Any] | None:
    if not isinstance(pause, Mapping):
        return None
    return {name: pause[name] for name in ("behavior", "resumes_at") if pause.get(name) is not None}


def _invoice(snapshot: Object) -> dict[str, Any]:
    parent = snapshot.get("parent") or {}
    transitions = snapshot.get("status_transitions") or {}
    return {
        **_plain_invoice(snapshot),
        "customer": as_id(snapshot.get("customer")),
        "subscription": as_id((parent.get("subscription_details") or {}).get("subscription")),
        "finalized_at": transitions.get("finalized_at"),
    }


_plain_invoice = _take(
    "status",
    "created",
    "amount_due",
    "amount_remaining",
    "currency",
    "attempt_count",
    "next_payment_attempt",
    "due_date",
)


def _customer(snapshot: Object) -> dict[str, Any]:
    settings = snapshot.get("invoice_settings") or {}
    method = as_id(settings.get("default_payment_method")) or as_id(snapshot.get("default_source"))
    return {
        "created": snapshot.get("created"),
        "delinquent": bool(snapshot.get("delinquent")) or None,
        "default_payment_method": method,
        "workspace_id": _workspace(snapshot),
    }


def _session(snapshot: Object) -> dict[str, Any]:
    return {
        **_take("created", "status", "payment_status", "mode", "client_reference_id")(snapshot),
        "customer": as_id(snapshot.get("customer")),
        "subscription": as_id(snapshot.get("subscription")),
        "workspace_id": _workspace(snapshot),
    }


def _product(snapshot: Object) -> dict[str, Any]:
    return {**_take("created", "active", "name")(snapshot), "metadata": _catalog_metadata(snapshot)}


def _price(snapshot: Object) -> dict[str, Any]:
    recurring = snapshot.get("recurring") or snapshot
    return {
        **_take("created", "active", "lookup_key", "unit_amount", "currency")(snapshot),
        "product": as_id(snapshot.get("product")),
        "interval": recurring.get("interval"),
        "metadata": _catalog_metadata(snapshot),
    }


def _payment_method(snapshot: Object) -> dict[str, Any]:
    card = snapshot.get("card") or {}
    return {
        **_take("created", "type")(snapshot),
        "customer": as_id(snapshot.get("customer")),
        "exp_month": card.get("exp_month"),
        "exp_year": card.get("exp_year"),
    }


def _schedule(snapshot: Object) -> dict[str, Any]:
    return {
        **_take("created", "status", "end_behavior")(snapshot),
        "customer": as_id(snapshot.get("customer")),
        "subscription": as_id(snapshot.get("subscription")),
        "phases": [_phase(phase) for phase in snapshot.get("phases") or []],
    }


def _phase(phase: Object) -> dict[str, Any]:
    items = [{"price": as_id(i.get("price")), "quantity": i.get("quantity")} for i in phase.get("items") or []]
    return {"start": phase.get("start_date"), "end": phase.get("end_date"), "items": items}


def _summary(snapshot: Object) -> dict[str, Any]:
    listing = snapshot.get("entitlements") or {}
    return {
        "customer": as_id(snapshot.get("customer")),
        "features": sorted(str(e.get("lookup_key")) for e in listing.get("data") or []),
        "has_more": bool(listing.get("has_more")) or None,
    }


def _features(snapshot: Object) -> dict[str, Any]:
    """Limits by lookup key, which is a feature's for life."""
    return {"features": {str(one.get("lookup_key")): _catalog_metadata(one) for one in snapshot.get("features") or []}}


def _warning(snapshot: Object) -> dict[str, Any]:
    return {
        **_take("created", "actionable", "fraud_type")(snapshot),
        "charge": as_id(snapshot.get("charge")),
        "payment_intent": as_id(snapshot.get("payment_intent")),
    }


def _any(snapshot: Object) -> dict[str, Any]:
    """Ids, states, times and amounts: nothing that names a person."""
    references = ("customer", "subscription", "invoice", "charge", "payment_intent")
    return {
        **{name: as_id(snapshot.get(name)) for name in references},
        **{name: snapshot.get(name) for name in _PLAIN if isinstance(snapshot.get(name), str | int)},
    }


_PLAIN = (
    "status",
    "created",
    "active",
    "amount",
    "currency",
    "disputed",
    "refunded",
    "amount_refunded",
    "type",
    "reason",
)


def _workspace(snapshot: Object) -> str | None:
    value = (snapshot.get("metadata") or {}).get("workspace_id")
    return value if isinstance(value, str) and value else None


def _catalog_metadata(snapshot: Object) -> dict[str, str]:
    metadata = snapshot.get("metadata") or {}
    return {k: str(v) for k, v in metadata.items() if v is not None and (k in _CATALOG_KEYS or k.startswith("limit_"))}


_PROJECTIONS: Mapping[str, Callable[[Object], dict[str, Any]]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "customer": _customer,
    "checkout.session": _session,
    "product": _product,
    "price": _price,
    "plan": _price,
    "payment_method": _payment_method,
    "subscription_schedule": _schedule,
    "radar.early_fraud_warning": _warning,
    SUMMARY: _summary,
    FEATURES: _features,
}

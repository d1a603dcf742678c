"""What a register keeps of an object: a whitelist per type. No name, email, address or card number is in any.

A projection holds no nulls: absent and null are one value within it. What is not projected cannot make a conflict:
states that differ elsewhere only are one node of the walk in `resolve`. `unreadable` names the fields that hold what
they cannot hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from nilometer.domain.stripe.event import FEATURES, SUMMARY, Object, as_id
from nilometer.domain.stripe.registers.fields import (
    Check,
    Unreadable,
    catalog_metadata,
    flag,
    is_flag,
    is_moment,
    is_quantity,
    is_text,
    is_whole,
    part,
    percentage,
    reference,
    rows,
    take,
    taking,
    workspace,
)

Projection = Mapping[str, Any]

LINES = 10  # of an invoice; Stripe shows so many inside it
_NAMED = 20  # unreadable fields that a projection names


def project(snapshot: Object) -> dict[str, Any]:
    """Of a normalised snapshot. An object of an unknown type keeps the fields that most types share."""
    kind = str(snapshot.get("object", ""))
    bad: Unreadable = []
    kept = {"id": as_id(snapshot.get("id")), "object": kind, **_PROJECTIONS.get(kind, _any)(snapshot, bad)}
    if bad:
        kept["unreadable"] = sorted(set(bad))[:_NAMED]
    return {name: value for name, value in kept.items() if value is not None and value != {}}


def digest(projection: Projection) -> str:
    """Names a state: equal projections, equal digests, on every machine."""
    text = json.dumps(projection, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _subscription(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **_plain_subscription(snapshot, bad),
        "customer": reference(snapshot, "customer", bad),
        "latest_invoice": reference(snapshot, "latest_invoice", bad),
        "schedule": reference(snapshot, "schedule", bad),
        "default_payment_method": reference(snapshot, "default_payment_method", bad),
        "cancel_at_period_end": flag(snapshot, "cancel_at_period_end", bad),
        "pause": take(part(snapshot, "pause_collection", bad), _PAUSE, bad),
        "workspace_id": workspace(snapshot, bad),
        **_items(part(snapshot, "items", bad), bad),
    }


_plain_subscription = taking(
    status=is_text,
    created=is_moment,
    cancel_at=is_moment,
    canceled_at=is_moment,
    ended_at=is_moment,
    trial_start=is_moment,
    trial_end=is_moment,
    collection_method=is_text,
)
_PAUSE = {"behavior": is_text, "resumes_at": is_moment}
_ITEM = {"quantity": is_quantity, "current_period_start": is_moment, "current_period_end": is_moment}


_PRICED = {"unit_amount": is_whole, "currency": is_text}
_RECURRING = {"interval": is_text, "interval_count": is_quantity}


def _recurring(recurring: Object, bad: Unreadable) -> dict[str, Any]:
    """Most prices are paid by quantity, so only `metered` is kept."""
    usage_type = take(recurring, {"usage_type": is_text}, bad).get("usage_type")
    return take(recurring, _RECURRING, bad) | ({"usage_type": usage_type} if usage_type == "metered" else {})


def _items(items: Object, bad: Unreadable) -> dict[str, Any]:
    """Of a subscription; `has_more` when the event does not show all."""
    data: list[dict[str, Any]] = [_item(item, bad) for item in rows(items, "data", bad)]
    return {"items": data, "has_more": flag(items, "has_more", bad)}


def _item(item: Object, bad: Unreadable) -> dict[str, Any]:
    price = item.get("price")
    price = price if isinstance(price, Mapping) else {"id": price}
    kept = {
        "id": reference(item, "id", bad),
        "price": reference(price, "id", bad),
        "product": reference(price, "product", bad),
        **take(item, _ITEM, bad),
        **take(price, _PRICED, bad),
        **_recurring(part(price, "recurring", bad), bad),
        "metadata": catalog_metadata(price, bad) or None,
    }
    return {name: value for name, value in kept.items() if value is not None}


def _invoice(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    details = part(part(snapshot, "parent", bad), "subscription_details", bad)
    return {
        **_plain_invoice(snapshot, bad),
        "customer": reference(snapshot, "customer", bad),
        "subscription": reference(details, "subscription", bad),
        **take(part(snapshot, "status_transitions", bad), _TRANSITIONS, bad),
        **_lines(part(snapshot, "lines", bad), bad),
    }


def _lines(lines: Object, bad: Unreadable) -> dict[str, Any]:
    """Of an invoice, as many as an event shows; `more_lines` when it does not show all."""
    data = [_line(line, bad) for line in islice(rows(lines, "data", bad), LINES)]
    return {"lines": data or None, "more_lines": flag(lines, "has_more", bad)}


def _line(line: Object, bad: Unreadable) -> dict[str, Any]:
    parent = part(line, "parent", bad)
    details = part(parent, "subscription_item_details", bad) or part(parent, "invoice_item_details", bad)
    price = part(part(line, "pricing", bad), "price_details", bad)
    kept = {
        "id": reference(line, "id", bad),
        "subscription": reference(details, "subscription", bad),
        "item": reference(details, "subscription_item", bad),
        "price": reference(price, "price", bad),
        "product": reference(price, "product", bad),
        **take(line, _LINE, bad),
        **take(part(line, "period", bad), {"start": is_moment, "end": is_moment}, bad),
        "proration": flag(details, "proration", bad),
        "discount": _amounts(line, "discount_amounts", bad),
        "tax": _amounts(line, "taxes", bad),
    }
    return {name: value for name, value in kept.items() if value is not None}


def _amounts(line: Object, name: str, bad: Unreadable) -> int | None:
    """Their sum; nothing when it is none."""
    return sum(take(one, {"amount": is_whole}, bad).get("amount", 0) for one in rows(line, name, bad)) or None


_plain_invoice = taking(
    status=is_text,
    created=is_moment,
    subtotal=is_whole,
    total=is_whole,
    amount_due=is_whole,
    amount_paid=is_whole,
    amount_remaining=is_whole,
    currency=is_text,
    attempt_count=is_quantity,
    next_payment_attempt=is_moment,
    due_date=is_moment,
)


_TRANSITIONS = dict.fromkeys(("finalized_at", "paid_at", "voided_at", "marked_uncollectible_at"), is_moment)
_LINE = {"amount": is_whole, "currency": is_text, "quantity": is_quantity}


def _customer(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    settings = part(snapshot, "invoice_settings", bad)
    method = reference(settings, "default_payment_method", bad) or reference(snapshot, "default_source", bad)
    return {
        **take(snapshot, {"created": is_moment}, bad),
        "delinquent": flag(snapshot, "delinquent", bad),
        "default_payment_method": method,
        "workspace_id": workspace(snapshot, bad),
    }


def _session(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **_plain_session(snapshot, bad),
        "client_reference_id": reference(snapshot, "client_reference_id", bad),
        "customer": reference(snapshot, "customer", bad),
        "subscription": reference(snapshot, "subscription", bad),
        "workspace_id": workspace(snapshot, bad),
    }


_plain_session = taking(created=is_moment, status=is_text, payment_status=is_text, mode=is_text)


def _product(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {**_plain_product(snapshot, bad), "metadata": catalog_metadata(snapshot, bad)}


_plain_product = taking(created=is_moment, active=is_flag, name=is_text)


def _price(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    recurring = part(snapshot, "recurring", bad) or snapshot
    return {
        **_plain_price(snapshot, bad),
        "product": reference(snapshot, "product", bad),
        **_recurring(recurring, bad),
        "metadata": catalog_metadata(snapshot, bad),
    }


_plain_price = taking(created=is_moment, active=is_flag, lookup_key=is_text, unit_amount=is_whole, currency=is_text)


def _payment_method(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **take(snapshot, {"created": is_moment, "type": is_text}, bad),
        "customer": reference(snapshot, "customer", bad),
        **take(part(snapshot, "card", bad), {"exp_month": is_whole, "exp_year": is_whole}, bad),
    }


def _schedule(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **take(snapshot, {"created": is_moment, "status": is_text, "end_behavior": is_text}, bad),
        "customer": reference(snapshot, "customer", bad),
        "subscription": reference(snapshot, "subscription", bad),
        "phases": [_phase(phase, bad) for phase in rows(snapshot, "phases", bad)],
    }


def _phase(phase: Object, bad: Unreadable) -> dict[str, Any]:
    """`start` and `end` stand there even when Stripe says null."""
    bounds = take(phase, {"start_date": is_moment, "end_date": is_moment}, bad)
    items = [
        {"price": reference(item, "price", bad), "quantity": take(item, {"quantity": is_quantity}, bad).get("quantity")}
        for item in rows(phase, "items", bad)
    ]
    return {"start": bounds.get("start_date"), "end": bounds.get("end_date"), "items": items}


def _summary(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    listing = part(snapshot, "entitlements", bad)
    features = (take(one, {"lookup_key": is_text}, bad).get("lookup_key") for one in rows(listing, "data", bad))
    return {
        "customer": reference(snapshot, "customer", bad),
        "features": sorted(feature for feature in features if feature),
        "has_more": flag(listing, "has_more", bad),
    }


def _features(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    """Limits by lookup key, which is a feature's for life."""
    keyed = ((take(one, {"lookup_key": is_text}, bad).get("lookup_key"), one) for one in snapshot.get("features") or [])
    return {"features": {key: catalog_metadata(one, bad) for key, one in keyed if key}}


def _warning(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **take(snapshot, {"created": is_moment, "actionable": is_flag, "fraud_type": is_text}, bad),
        "charge": reference(snapshot, "charge", bad),
        "payment_intent": reference(snapshot, "payment_intent", bad),
    }


def _coupon(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **_plain_coupon(snapshot, bad),
        "percent_off": percentage(snapshot, "percent_off", bad),
        "valid": flag(snapshot, "valid", bad),
    }


_plain_coupon = taking(
    created=is_moment, amount_off=is_whole, currency=is_text, duration=is_text, duration_in_months=is_quantity
)


def _discount(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    """Until 2025-09-30 the coupon stood in it whole."""
    named = ("customer", "subscription", "subscription_item", "promotion_code")
    source = part(snapshot, "source", bad)
    return {
        **{name: reference(snapshot, name, bad) for name in named},
        "coupon": reference(source, "coupon", bad) or reference(snapshot, "coupon", bad),
        **take(snapshot, {"start": is_moment, "end": is_moment}, bad),
    }


def _promotion_code(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    promotion = part(snapshot, "promotion", bad)
    return {
        **take(snapshot, {"created": is_moment, "active": is_flag, "expires_at": is_moment}, bad),
        "customer": reference(snapshot, "customer", bad),
        "coupon": reference(promotion, "coupon", bad) or reference(snapshot, "coupon", bad),
    }


def _naming(*references: str, **checks: Check) -> Callable[[Object, Unreadable], dict[str, Any]]:
    """A projection of references to other objects and of plain fields."""
    return lambda snapshot, bad: {
        **take(snapshot, checks, bad),
        **{name: reference(snapshot, name, bad) for name in references},
    }


_payment_intent = _naming(
    "customer", "latest_charge", "payment_method",
    created=is_moment, status=is_text, currency=is_text, amount=is_whole, amount_received=is_whole,
    canceled_at=is_moment,
)  # fmt: skip
_charge = _naming(
    "customer", "invoice", "payment_intent", "balance_transaction",
    created=is_moment, status=is_text, currency=is_text, amount=is_whole, amount_refunded=is_whole, disputed=is_flag,
    refunded=is_flag,
)  # fmt: skip
_credit_note = _naming(
    "customer", "invoice",
    created=is_moment, status=is_text, reason=is_text, type=is_text, currency=is_text, amount=is_whole,
    voided_at=is_moment,
)  # fmt: skip
_balance_transaction = _naming(
    "source",
    created=is_moment, status=is_text, type=is_text, currency=is_text, amount=is_whole, fee=is_whole, net=is_whole,
    available_on=is_moment,
)  # fmt: skip
_payout = _naming(
    created=is_moment, status=is_text, type=is_text, currency=is_text, amount=is_whole, arrival_date=is_moment,
    automatic=is_flag,
)  # fmt: skip


def _invoice_payment(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    payment = part(snapshot, "payment", bad)
    return {
        **take(snapshot, _PAYMENT, bad),
        "invoice": reference(snapshot, "invoice", bad),
        **{name: reference(payment, name, bad) for name in ("payment_intent", "charge")},
        **take(part(snapshot, "status_transitions", bad), {"paid_at": is_moment}, bad),
    }


_PAYMENT = {"created": is_moment, "status": is_text, "currency": is_text, "amount_paid": is_whole}


def _any(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    """Ids, states, times and amounts: nothing that names a person. Of a type that we do not know all may differ."""
    references = ("customer", "subscription", "invoice", "charge", "payment_intent")
    return {
        **{name: as_id(snapshot.get(name)) for name in references},
        **take(snapshot, _PLAIN, []),
        **take(snapshot, {"created": is_moment}, bad),
    }


def _is_plain(value: Any) -> bool:
    return is_flag(value) or is_whole(value) or is_text(value)


_PLAIN = dict.fromkeys(
    ("status", "active", "amount", "currency", "disputed", "refunded", "amount_refunded", "type", "reason"), _is_plain
)


_PROJECTIONS: Mapping[str, Callable[[Object, Unreadable], dict[str, Any]]] = {
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
    "coupon": _coupon,
    "promotion_code": _promotion_code,
    "discount": _discount,
    "credit_note": _credit_note,
    "payment_intent": _payment_intent,
    "charge": _charge,
    "invoice_payment": _invoice_payment,
    "balance_transaction": _balance_transaction,
    "payout": _payout,
}

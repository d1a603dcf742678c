"""What a register keeps of what billing records are folded from: a whitelist per type, each field within bounds.

No name, email, address or card number is in any. A projection holds no nulls: absent and null are one value within it.
What is not projected cannot make a conflict: states that differ elsewhere only are one node of the walk in `resolve`.

A field that has another type or is out of bounds is unreadable: it counts as absent and is named under `unreadable`,
so that the rest of the object counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from nilometer.domain.stripe.event import FEATURES, SUMMARY, Object, as_id, fits

Projection = Mapping[str, Any]
Read = Callable[[Any], Any]
"""A value that is not null as it is kept: None when it counts as absent, `UNREADABLE` when it is out of bounds."""
Unreadable = list[str]
"""Names of fields, as they are found."""
Project = Callable[[Object, Unreadable], dict[str, Any]]
"""What is kept of an object of one type; what of it is unreadable is added to the names."""

TEXT_LENGTH = 500  # characters; Stripe's own bound on a value of metadata
LARGEST = 2**53  # amounts in minor units, as JSON numbers carry them exactly
MOMENTS = 253_402_300_800  # seconds from 1970 to the year 10000
QUANTITIES = 10**9
ROWS = 500  # of a list inside an object
KEYS = 200  # limits in metadata
LINES = 10  # of an invoice; Stripe shows so many inside it

NAMED = 20  # unreadable fields that a projection names
_SHOWN = 40  # characters of a key of metadata; Stripe allows no more
_CATALOG_KEYS = ("plan", "limits", "seats", "features", "addon")
UNREADABLE: Any = object()
_HASHES = (dict, Mapping)  # nearly all are dicts, which is seen at once
_as_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


def digest(projection: Projection) -> str:
    """Names a state: equal projections, equal digests, on every machine."""
    return hashlib.sha256(_as_text(projection).encode()).hexdigest()[:12]


def text(value: Any) -> Any:
    """At most `TEXT_LENGTH` characters."""
    return value if type(value) is str and len(value) <= TEXT_LENGTH else UNREADABLE


def whole(value: Any) -> Any:
    """An integer that a table of the lake holds; no boolean."""
    return value if type(value) is int and -LARGEST <= value <= LARGEST else UNREADABLE


def moment(value: Any) -> Any:
    """Seconds since 1970 within the range of dates."""
    return value if type(value) is int and 0 <= value < MOMENTS else UNREADABLE


def quantity(value: Any) -> Any:
    """A count of what is sold, zero included."""
    return value if type(value) is int and 0 <= value <= QUANTITIES else UNREADABLE


def boolean(value: Any) -> Any:
    """Not 0 or 1."""
    return value if type(value) is bool else UNREADABLE


def flag(value: Any) -> Any:
    """True or nothing."""
    return boolean(value) or None


def reference(value: Any) -> Any:
    """The id of another object, which may be expanded."""
    return None if value == "" else as_id(value) or UNREADABLE


def _metered(value: Any) -> Any:
    """Most prices are paid by quantity, so only `metered` is kept."""
    found = text(value)
    return found if found is UNREADABLE or found == "metered" else None


def _plain(value: Any) -> Any:
    return value if type(value) is bool or whole(value) is value or text(value) is value else UNREADABLE


def take(snapshot: Object, reads: Mapping[str, Read], bad: Unreadable) -> dict[str, Any]:
    """The fields of `reads` that are there and hold what they should."""
    kept: dict[str, Any] = {}
    get = snapshot.get
    for name, read in reads.items():
        value = get(name)
        if value is not None:
            found = read(value)
            if found is UNREADABLE:
                bad.append(name)
            elif found is not None:
                kept[name] = found
    return kept


def part(snapshot: Object, name: str, bad: Unreadable) -> Object:
    """A hash inside an object; empty when there is none."""
    value = snapshot.get(name)
    if isinstance(value, _HASHES):
        return value
    if value is not None:
        bad.append(name)
    return {}


def rows(snapshot: Object, name: str, bad: Unreadable) -> Iterator[Object]:
    """The hashes of a list inside an object, at most `ROWS`."""
    value = snapshot.get(name)
    if value is not None and (not isinstance(value, list) or len(value) > ROWS):
        bad.append(name)
    for one in value[:ROWS] if isinstance(value, list) else ():
        if isinstance(one, _HASHES):
            yield one
        else:
            bad.append(name)


def _workspace(snapshot: Object, bad: Unreadable) -> str | None:
    """`metadata.workspace_id`."""
    value = part(snapshot, "metadata", bad).get("workspace_id")
    if value is None or value == "":
        return None
    if isinstance(value, str) and fits(value):
        return value
    bad.append("metadata.workspace_id")
    return None


def _catalog_metadata(snapshot: Object, bad: Unreadable) -> dict[str, str]:
    """What a product, price or feature says of its plan, as texts."""
    metadata = part(snapshot, "metadata", bad)
    kept: dict[str, str] = {}
    for name, value in metadata.items():
        if value is None or not (name in _CATALOG_KEYS or name.startswith("limit_")):
            continue
        if len(kept) < KEYS and len(name) <= TEXT_LENGTH and isinstance(value, str | int | float):
            text = str(value)
            if len(text) <= TEXT_LENGTH:
                kept[name] = text
                continue
        bad.append(f"metadata.{name[:_SHOWN]}")
    return kept


_SUBSCRIPTION: Mapping[str, Read] = {
    "status": text,
    **dict.fromkeys(("created", "cancel_at", "canceled_at", "ended_at", "trial_start", "trial_end"), moment),
    "collection_method": text,
    **dict.fromkeys(("customer", "latest_invoice", "schedule", "default_payment_method"), reference),
    "cancel_at_period_end": flag,
}
_PAUSE: Mapping[str, Read] = {"behavior": text, "resumes_at": moment}
_ITEM: Mapping[str, Read] = {
    "id": reference,
    "quantity": quantity,
    **dict.fromkeys(("current_period_start", "current_period_end"), moment),
}
_PRICED: Mapping[str, Read] = {"product": reference, "unit_amount": whole, "currency": text}
_ITEM_PRICE: Mapping[str, Read] = {"id": reference, **_PRICED}
_RECURRING: Mapping[str, Read] = {"interval": text, "interval_count": quantity, "usage_type": _metered}


def _subscription(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **take(snapshot, _SUBSCRIPTION, bad),
        "pause": take(part(snapshot, "pause_collection", bad), _PAUSE, bad),
        "workspace_id": _workspace(snapshot, bad),
        **_items(part(snapshot, "items", bad), snapshot.get("currency"), bad),
    }


def _items(items: Object, currency: Any, bad: Unreadable) -> dict[str, Any]:
    """Of a subscription in `currency`; `has_more` when the event does not show all."""
    data: list[dict[str, Any]] = [_item(item, currency, bad) for item in rows(items, "data", bad)]
    return {"items": data, **take(items, {"has_more": flag}, bad)}


def _item(item: Object, currency: Any, bad: Unreadable) -> dict[str, Any]:
    """Without the unit amount where it is not what one unit costs: a price with currency options shows its default
    currency's, one with a transformed quantity a package's."""
    price = item.get("price")
    price = price if isinstance(price, Mapping) else {"id": price}
    metadata = _catalog_metadata(price, bad)
    priced = take(price, _ITEM_PRICE, bad)
    if currency and priced.get("currency", currency) != currency:
        priced |= take({"currency": currency}, {"currency": text}, bad) | {"unit_amount": None}
    if priced.get("unit_amount") is None or price.get("transform_quantity"):
        priced.pop("unit_amount", None)
    return {
        **({"price": priced.pop("id")} if "id" in priced else {}),
        **priced,
        **take(item, _ITEM, bad),
        **take(part(price, "recurring", bad), _RECURRING, bad),
        **({"metadata": metadata} if metadata else {}),
    }


_INVOICE: Mapping[str, Read] = {
    "status": text,
    **dict.fromkeys(("created", "next_payment_attempt", "due_date"), moment),
    **dict.fromkeys(("subtotal", "total", "amount_due", "amount_paid", "amount_remaining"), whole),
    "currency": text,
    "attempt_count": quantity,
    "customer": reference,
}


def _invoice(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    details = part(part(snapshot, "parent", bad), "subscription_details", bad)
    return {
        **take(snapshot, _INVOICE, bad),
        **take(details, {"subscription": reference}, bad),
        **take(part(snapshot, "status_transitions", bad), _TRANSITIONS, bad),
        **_lines(part(snapshot, "lines", bad), bad),
    }


_TRANSITIONS = dict.fromkeys(("finalized_at", "paid_at", "voided_at", "marked_uncollectible_at"), moment)
_LINE: Mapping[str, Read] = {"id": reference, "amount": whole, "currency": text, "quantity": quantity}
_LINE_DETAILS: Mapping[str, Read] = {
    **dict.fromkeys(("subscription", "subscription_item"), reference),
    "proration": flag,
}


def _lines(lines: Object, bad: Unreadable) -> dict[str, Any]:
    """Of an invoice, as many as an event shows; `more_lines` when it does not show all."""
    data = [_line(line, bad) for line in islice(rows(lines, "data", bad), LINES)]
    return {"lines": data or None, "more_lines": take(lines, {"has_more": flag}, bad).get("has_more")}


def _line(line: Object, bad: Unreadable) -> dict[str, Any]:
    parent = part(line, "parent", bad)
    details = part(parent, "subscription_item_details", bad) or part(parent, "invoice_item_details", bad)
    price = part(part(line, "pricing", bad), "price_details", bad)
    detailed = take(details, _LINE_DETAILS, bad)
    item = detailed.pop("subscription_item", None)
    sums = {"discount": _sum(line, "discount_amounts", bad), "tax": _sum(line, "taxes", bad), "item": item}
    return {
        **take(line, _LINE, bad),
        **detailed,
        **take(price, {"price": reference, "product": reference}, bad),
        **take(part(line, "period", bad), {"start": moment, "end": moment}, bad),
        **{name: value for name, value in sums.items() if value is not None},
    }


def _sum(line: Object, name: str, bad: Unreadable) -> int | None:
    """Of the amounts; nothing when it is none."""
    return sum(take(one, {"amount": whole}, bad).get("amount", 0) for one in rows(line, name, bad)) or None


def _customer(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    settings = take(part(snapshot, "invoice_settings", bad), {"default_payment_method": reference}, bad)
    source = {} if settings else take(snapshot, {"default_source": reference}, bad)
    return {
        **take(snapshot, {"created": moment, "delinquent": flag}, bad),
        "default_payment_method": settings.get("default_payment_method") or source.get("default_source"),
        "workspace_id": _workspace(snapshot, bad),
    }


_SESSION: Mapping[str, Read] = {
    "created": moment,
    **dict.fromkeys(("status", "payment_status", "mode"), text),
    **dict.fromkeys(("client_reference_id", "customer", "subscription"), reference),
}


def _session(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {**take(snapshot, _SESSION, bad), "workspace_id": _workspace(snapshot, bad)}


_PRODUCT: Mapping[str, Read] = {"created": moment, "active": boolean, "name": text}
_PRICE: Mapping[str, Read] = {"created": moment, "active": boolean, "lookup_key": text, **_PRICED}


def _product(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {**take(snapshot, _PRODUCT, bad), "metadata": _catalog_metadata(snapshot, bad)}


def _price(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    recurring = part(snapshot, "recurring", bad) or snapshot
    metadata = _catalog_metadata(snapshot, bad)
    return {**take(snapshot, _PRICE, bad), **take(recurring, _RECURRING, bad), "metadata": metadata}


def _payment_method(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **take(snapshot, {"created": moment, "type": text, "customer": reference}, bad),
        **take(part(snapshot, "card", bad), {"exp_month": whole, "exp_year": whole}, bad),
    }


_SCHEDULE: Mapping[str, Read] = {
    "created": moment,
    **dict.fromkeys(("status", "end_behavior"), text),
    **dict.fromkeys(("customer", "subscription"), reference),
}


def _schedule(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    phases = [_phase(phase, bad) for phase in rows(snapshot, "phases", bad)]
    current = take(part(snapshot, "current_phase", bad), {"start_date": moment}, bad)
    return {**take(snapshot, _SCHEDULE, bad), "phase_start": current.get("start_date"), "phases": phases}


def _phase(phase: Object, bad: Unreadable) -> dict[str, Any]:
    """`start` and `end` stand there even when Stripe says null, as an item's price and quantity do."""
    bounds = take(phase, {"start_date": moment, "end_date": moment}, bad)
    sold = (take(item, {"price": reference, "quantity": quantity}, bad) for item in rows(phase, "items", bad))
    items = [{"price": item.get("price"), "quantity": item.get("quantity")} for item in sold]
    return {"start": bounds.get("start_date"), "end": bounds.get("end_date"), "items": items}


def _summary(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    listing = part(snapshot, "entitlements", bad)
    features = (_lookup_key(one, bad) for one in rows(listing, "data", bad))
    return {
        **take(snapshot, {"customer": reference}, bad),
        "features": sorted(feature for feature in features if feature),
        **take(listing, {"has_more": flag}, bad),
    }


def _features(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    """Limits by lookup key, which is a feature's for life."""
    keyed = ((_lookup_key(one, bad), one) for one in snapshot.get("features") or [])
    return {"features": {key: _catalog_metadata(one, bad) for key, one in keyed if key}}


def _lookup_key(feature: Object, bad: Unreadable) -> str | None:
    return take(feature, {"lookup_key": text}, bad).get("lookup_key")


_WARNING: Mapping[str, Read] = {
    "created": moment,
    "actionable": boolean,
    "fraud_type": text,
    **dict.fromkeys(("charge", "payment_intent"), reference),
}


def _warning(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return take(snapshot, _WARNING, bad)


_ANY: Mapping[str, Read] = {
    **dict.fromkeys(("customer", "subscription", "invoice", "charge", "payment_intent"), reference),
    **dict.fromkeys(
        ("status", "active", "amount", "currency", "disputed", "refunded", "amount_refunded", "type", "reason"), _plain
    ),
}


def of_unknown_type(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    """Ids, states, times and amounts: nothing that names a person. Of a type that we do not know all may differ."""
    return {**take(snapshot, _ANY, []), **take(snapshot, {"created": moment}, bad)}


BILLED: Mapping[str, Project] = {
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

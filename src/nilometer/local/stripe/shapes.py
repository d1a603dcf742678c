"""How Stripe's objects look in API 2026-10-28.endive: the fields that billing code meets, with plausible values.

Source: https://docs.stripe.com/api. Pure builders; ids and times are handed in. `world` gives them a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]


def product(id_: str, *, name: str, created: int, metadata: Mapping[str, str]) -> Object:
    """An active product with no default price, as the API version of `handled.py` has it."""
    return {
        "id": id_,
        "object": "product",
        "active": True,
        "created": created,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": dict(metadata),
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": created,
        "url": None,
    }


def price(
    id_: str,
    *,
    product_id: str,
    unit_amount: int,
    interval: str,
    interval_count: int = 1,
    created: int,
    metadata: Mapping[str, str],
) -> Object:
    """A licensed price in dollars, each `interval_count` of `interval`; `unit_amount` in cents."""
    return {
        "id": id_,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": dict(metadata),
        "nickname": None,
        "product": product_id,
        "recurring": {
            "interval": interval,
            "interval_count": interval_count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
    }


def customer(id_: str, *, created: int, metadata: Mapping[str, str]) -> Object:
    """Without a payment method; the address is made from the id."""
    return {
        "id": id_,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": f"billing+{id_[-6:].lower()}@example.com",
        "invoice_prefix": id_[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(metadata),
        "name": f"Customer {id_[-6:]}",
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def payment_method(id_: str, *, customer_id: str, created: int) -> Object:
    """A Visa test card."""
    return {
        "id": id_,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": {"country": "US", "postal_code": None}, "email": None, "name": None},
        "card": {
            "brand": "visa",
            "checks": {"cvc_check": "pass"},
            "country": "US",
            "exp_month": 8,
            "exp_year": 2030,
            "fingerprint": id_[-16:],
            "funding": "credit",
            "last4": "4242",
            "wallet": None,
        },
        "created": created,
        "customer": customer_id,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def subscription_item(id_: str, *, subscription_id: str, price: Object, quantity: int, start: int, end: int) -> Object:
    """Since 2025-03-31.basil the period belongs to the item."""
    return {
        "id": id_,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": start,
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": {},
        "plan": plan(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def plan(price: Object) -> Object:
    """The older form of a price, still sent with it."""
    return {
        "id": price["id"],
        "object": "plan",
        "active": True,
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": price["created"],
        "currency": price["currency"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": price["livemode"],
        "metadata": dict(price["metadata"]),
        "meter": None,
        "nickname": None,
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def listed(data: Iterable[Object], *, url: str) -> Object:
    """A list object that is whole: `has_more` is false."""
    elements = list(data)
    return {"object": "list", "data": elements, "has_more": False, "total_count": len(elements), "url": url}


def subscription(
    id_: str, *, customer_id: str, items: list[Object], status: str, created: int, metadata: Mapping[str, str]
) -> Object:
    """Under flexible billing, in dollars; its period is that of its first item, as of API version 2025-03-31."""
    return {
        "id": id_,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": items[0]["current_period_start"],
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": "flexible"},
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": created,
        "currency": "usd",
        "customer": customer_id,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": listed(items, url=f"/v1/subscription_items?subscription={id_}"),
        "latest_invoice": None,
        "livemode": False,
        "metadata": dict(metadata),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "plan": items[0]["plan"] if len(items) == 1 else None,
        "quantity": items[0]["quantity"] if len(items) == 1 else None,
        "schedule": None,
        "start_date": created,
        "status": status,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def invoice(id_: str, *, subscription: Object, number: str, reason: str, amount: int, created: int) -> Object:
    """A draft for what `subscription` owes now."""
    subscription_id, customer_id = subscription["id"], subscription["customer"]
    first = subscription["items"]["data"][0]
    return {
        "id": id_,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Nile Works",
        "amount_due": amount,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": amount,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "status": None},
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": created,
        "currency": "usd",
        "customer": customer_id,
        "customer_address": None,
        "customer_email": f"billing+{customer_id[-6:].lower()}@example.com",
        "customer_name": f"Customer {customer_id[-6:]}",
        "default_payment_method": None,
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "lines": listed([_line(id_, subscription, first, amount)], url=f"/v1/invoices/{id_}/lines"),
        "livemode": subscription["livemode"],
        "metadata": {},
        "next_payment_attempt": None,
        "number": number,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": dict(subscription["metadata"]), "subscription": subscription_id},
            "type": "subscription_details",
        },
        "period_end": created,
        "period_start": created,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": amount,
        "total": amount,
        "total_discount_amounts": [],
        "webhooks_delivered_at": None,
    }


def _line(invoice_id: str, subscription: Object, item: Object, amount: int) -> Object:
    return {
        "id": f"il_{invoice_id[3:]}",
        "object": "line_item",
        "amount": amount,
        "currency": "usd",
        "description": f"{item['quantity']} × plan",
        "discounts": [],
        "invoice": invoice_id,
        "livemode": subscription["livemode"],
        "metadata": {},
        "parent": {
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pricing": {
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "type": "price_details",
            "unit_amount_decimal": item["price"]["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
    }


def invoice_payment(id_: str, *, invoice: Object, created: int) -> Object:
    """Since basil the payment of an invoice is an object of its own; it names no customer."""
    return {
        "id": id_,
        "object": "invoice_payment",
        "amount_paid": invoice["amount_due"],
        "amount_requested": invoice["amount_due"],
        "created": created,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": invoice["livemode"],
        "payment": {"payment_intent": f"pi_{id_[6:]}", "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": created},
    }


def charge(id_: str, *, invoice: Object, paid: bool, created: int) -> Object:
    """Of an invoice's amount due; one that is not paid was declined by the card."""
    return {
        "id": id_,
        "object": "charge",
        "amount": invoice["amount_due"],
        "amount_captured": invoice["amount_due"] if paid else 0,
        "amount_refunded": 0,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": paid,
        "created": created,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "disputed": False,
        "failure_code": None if paid else "card_declined",
        "livemode": invoice["livemode"],
        "metadata": {},
        "outcome": {"network_status": "approved_by_network" if paid else "declined_by_network"},
        "paid": paid,
        "refunded": False,
        "status": "succeeded" if paid else "failed",
    }


def checkout_session(
    id_: str, *, customer_id: str, subscription_id: str, workspace_id: str | None, created: int
) -> Object:
    """A session that is complete and paid; `client_reference_id` is the workspace, when one is given."""
    return {
        "id": id_,
        "object": "checkout.session",
        "client_reference_id": workspace_id,
        "created": created,
        "currency": "usd",
        "customer": customer_id,
        "customer_details": {"email": f"billing+{customer_id[-6:].lower()}@example.com", "name": None},
        "expires_at": created + 86400,
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "mode": "subscription",
        "payment_status": "paid",
        "status": "complete",
        "subscription": subscription_id,
    }


def entitlements(features: Iterable[tuple[str, str]]) -> list[Object]:
    """`features`: (id, lookup key)."""
    return [
        {
            "id": f"ent_{feature[5:]}",
            "object": "entitlements.active_entitlement",
            "feature": feature,
            "livemode": False,
            "lookup_key": lookup_key,
        }
        for feature, lookup_key in features
    ]


def entitlement_summary(*, customer_id: str, features: Iterable[tuple[str, str]]) -> Object:
    """`features`: (id, lookup key). The summary has no id of its own and lists at most ten."""
    listing = entitlements(features)
    url = f"/v1/entitlements/active_entitlements?customer={customer_id}"
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer_id,
        "entitlements": {"object": "list", "data": listing[:10], "has_more": len(listing) > 10, "url": url},
        "livemode": False,
    }

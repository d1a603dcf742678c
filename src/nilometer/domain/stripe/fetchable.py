"""The objects that Stripe's API gives by their id: type → collection. Source: https://docs.stripe.com/api."""

from __future__ import annotations

from collections.abc import Mapping

from nilometer.domain.stripe.event import FEATURES, SUMMARY, THIN

COLLECTIONS: Mapping[str, str] = {
    "balance_transaction": "balance_transactions",
    "charge": "charges",
    "checkout.session": "checkout/sessions",
    "coupon": "coupons",
    "credit_note": "credit_notes",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "invoice_payment": "invoice_payments",
    "invoiceitem": "invoiceitems",
    "payment_intent": "payment_intents",
    "payment_method": "payment_methods",
    "payout": "payouts",
    "plan": "plans",
    "price": "prices",
    "product": "products",
    "promotion_code": "promotion_codes",
    "radar.early_fraud_warning": "radar/early_fraud_warnings",
    "refund": "refunds",
    "setup_intent": "setup_intents",
    "subscription": "subscriptions",
    "subscription_schedule": "subscription_schedules",
}


def fetchable(object_type: str) -> bool:
    """Entitlements of a customer have no id and are listed, as all features are; a thin event is fetched whole."""
    return object_type in COLLECTIONS or object_type in {SUMMARY, FEATURES, THIN}

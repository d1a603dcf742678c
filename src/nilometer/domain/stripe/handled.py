"""The events that an endpoint at Stripe must send: those of every object whose register is compared or decides.

Others are kept as facts when they come, and change nothing. `invoice.upcoming` is not here: its invoice has no id.
"""

from __future__ import annotations

from collections.abc import Mapping

API_VERSION = "2026-10-28.endive"
"""What the code is tested on; an endpoint is pinned to it, whatever the account's default is."""

_LASTS: Mapping[str, Mapping[str, str]] = {
    "product": {"product": "created deleted updated"},
    "price": {"price": "created deleted updated"},
    "customer": {"customer": "created deleted updated"},
    "payment_method": {"payment_method": "attached automatically_updated detached updated"},
    "subscription": {
        "customer.subscription": "created deleted paused pending_update_applied pending_update_expired resumed "
        "trial_will_end updated"
    },
    "subscription_schedule": {"subscription_schedule": "aborted canceled completed created expiring released updated"},
    "checkout.session": {"checkout.session": "async_payment_failed async_payment_succeeded completed expired"},
    "invoice": {
        "invoice": "created deleted finalization_failed finalized marked_uncollectible overdue overpaid paid "
        "payment_action_required payment_attempt_required payment_failed payment_succeeded sent updated voided "
        "will_be_due"
    },
    "coupon": {"coupon": "created deleted updated"},
    "promotion_code": {"promotion_code": "created updated"},
    "discount": {"customer.discount": "created deleted updated"},
    "invoice_payment": {"invoice_payment": "paid"},
    "payment_intent": {
        "payment_intent": "amount_capturable_updated canceled created partially_funded payment_failed processing "
        "requires_action succeeded"
    },
    "credit_note": {"credit_note": "created updated voided"},
    "payout": {"payout": "canceled created failed paid reconciliation_completed updated"},
    "charge": {"charge": "captured expired failed pending refunded succeeded updated"},
    "dispute": {"charge.dispute": "closed created funds_reinstated funds_withdrawn updated"},
    "refund": {"refund": "created failed updated", "charge.refund": "updated"},
    "radar.early_fraud_warning": {"radar.early_fraud_warning": "created updated"},
    "entitlements.active_entitlement_summary": {"entitlements.active_entitlement_summary": "updated"},
}

HANDLED: Mapping[str, tuple[str, ...]] = {
    object_type: tuple(f"{prefix}.{last}" for prefix, lasts in said.items() for last in lasts.split())
    for object_type, said in _LASTS.items()
}
"""Event types by the type of their object."""

EVENT_TYPES = tuple(sorted(event_type for event_types in HANDLED.values() for event_type in event_types))

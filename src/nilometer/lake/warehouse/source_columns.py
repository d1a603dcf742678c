"""What each source of Fivetran's Stripe connector is of our tables: where its rows come from, and its columns.

Columns that are not named here are null: we do not keep them (names, addresses, cards, free text) or do not know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nilometer.lake.tables.order import BOOK_ORDER, newest_first


@dataclass(frozen=True, slots=True)
class FivetranSource:
    """`rows` is what stands after FROM; a column is an expression over it."""

    rows: str
    columns: Mapping[str, str] = field(default_factory=dict)


_MADE = {"_fivetran_synced": "recorded_at", "id": "object_id", "created": "created_at"}
_ID = _MADE | {"livemode": "livemode"}
_CONNECTED = {"connected_account_id": "nullif(account, 'self')"}
_GONE = {"is_deleted": "deleted"}
_EMPTY = "(select 1) as nothing where false"


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _renamed(**columns: str) -> dict[str, str]:
    return columns


_ENTRY = "(select source_id, min(object_id) as entry_id from nilometer.balance_transactions group by source_id)"
_INVOICE_OF = """(select charge_id, min(invoice_id) as paid_invoice_id from (
    select charges.object_id as charge_id, payments.invoice_id from nilometer.charges
    join nilometer.invoice_payments as payments on charges.payment_intent_id = payments.payment_intent_id) as paid
  group by charge_id)"""
_PERIODS = """(select subscription_id as owner_id, min(period_start) as period_start, max(period_end) as period_end
  from nilometer.subscription_items group by subscription_id)"""
_SUBSCRIPTION = {
    **_ID,
    **_same("customer_id", "status", "cancel_at", "canceled_at", "cancel_at_period_end", "ended_at"),
    **_same("latest_invoice_id", "trial_start", "trial_end"),
    **_renamed(
        billing="collection_method",
        start_date="created_at",
        current_period_start="period_start",
        current_period_end="period_end",
        pause_collection_behavior="pause_behavior",
        pause_collection_resumes_at="pause_ends_at",
    ),
}
_PRICE = {**_ID, **_GONE, **_same("active", "currency", "metadata", "product_id")}
_USAGE = "coalesce(usage_type, case when interval is not null then 'licensed' end)"
_SCHEME = "case when unit_amount is not null then 'per_unit' end"
_DISCOUNT = {
    "_fivetran_synced": "recorded_at",
    "id": "object_id",
    **_same("coupon_id", "customer_id", "subscription_id"),
    "start": "timezone('UTC', starts_at)",
    "end": "timezone('UTC', ends_at)",
}

SOURCES: Mapping[str, FivetranSource] = {
    "account": FivetranSource(
        "(select account, max(recorded_at) as recorded_at from nilometer.customers where account <> 'self'"
        " group by account)",
        {"_fivetran_synced": "recorded_at", "id": "account"},
    ),
    "balance_transaction": FivetranSource(
        "nilometer.balance_transactions",
        {**_MADE, **_CONNECTED, **_same("amount", "fee", "net", "currency", "status", "type", "available_on")}
        | {"source": "source_id"},
    ),
    "card": FivetranSource(_EMPTY),
    "charge": FivetranSource(
        f"nilometer.charges left join {_INVOICE_OF} as paid on object_id = paid.charge_id"
        " left join (select object_id as intent_id, payment_method_id from nilometer.payment_intents) as intents"
        " on payment_intent_id = intents.intent_id",
        {**_ID, **_CONNECTED, **_same("amount", "amount_refunded", "balance_transaction_id", "currency", "customer_id")}
        | _same("payment_intent_id", "payment_method_id", "refunded", "status")
        | {"paid": "status = 'succeeded'", "captured": "status = 'succeeded'"}
        | {"invoice_id": "coalesce(invoice_id, paid_invoice_id)"},
    ),
    "coupon": FivetranSource(
        "nilometer.coupons where not deleted",
        _ID | _same("amount_off", "currency", "duration", "duration_in_months", "percent_off", "valid"),
    ),
    "credit_note": FivetranSource(
        "nilometer.credit_notes",
        _ID | _same("amount", "currency", "reason", "status", "type", "voided_at", "invoice_id") | {"total": "amount"},
    ),
    "credit_note_line_item": FivetranSource(_EMPTY),
    "customer": FivetranSource(
        "nilometer.customers",
        {**_ID, **_GONE, "delinquent": "delinquent"}
        | {"invoice_settings_default_payment_method": "default_payment_method_id"},
    ),
    "discount": FivetranSource(
        "nilometer.discounts where not deleted",
        _DISCOUNT
        | {
            "promotion_code": "promotion_code_id",
            "type": "case when subscription_item_id is not null then 'SUBSCRIPTION_ITEM'"
            " when subscription_id is not null then 'SUBSCRIPTION' else 'CUSTOMER' end",
            "type_id": "coalesce(subscription_item_id, subscription_id, customer_id)",
        },
    ),
    "dispute": FivetranSource(
        f"nilometer.disputes left join {_ENTRY} as entries on object_id = source_id",
        {**_ID, **_CONNECTED, **_same("amount", "charge_id", "currency", "reason", "status")}
        | {"balance_transaction": "entry_id"},
    ),
    "fee": FivetranSource(
        "nilometer.balance_transactions where fee <> 0",
        {**_CONNECTED, "_fivetran_synced": "recorded_at", "amount": "fee", "balance_transaction_id": "object_id"}
        | {"currency": "currency", "index": "0", "type": "'stripe_fee'"},
    ),
    "invoice": FivetranSource(
        "nilometer.invoices"
        " left join (select coalesce(charges.invoice_id, paid.paid_invoice_id) as charged_invoice_id,"
        " max_by(charges.object_id, charges.created_at) as charge_id,"
        " max_by(charges.payment_intent_id, charges.created_at) as intent_id"
        f" from nilometer.charges left join {_INVOICE_OF} as paid on charges.object_id = paid.charge_id"
        " group by all) as charged on object_id = charged.charged_invoice_id",
        {**_ID, **_GONE, **_same("amount_due", "amount_paid", "amount_remaining", "attempt_count", "currency")}
        | _same("customer_id", "due_date", "finalized_at", "next_payment_attempt", "status", "subscription_id")
        | _same("subtotal", "total", "charge_id")
        | {
            "attempted": "attempt_count > 0",
            "date": "created_at",
            "paid": "status = 'paid'",
            "payment_intent_id": "intent_id",
            "status_transitions_finalized_at": "finalized_at",
            "status_transitions_marked_uncollectible_at": "marked_uncollectible_at",
            "status_transitions_paid_at": "paid_at",
            "status_transitions_voided_at": "voided_at",
        },
    ),
    "invoice_line_item": FivetranSource(
        "nilometer.invoice_lines",
        {"_fivetran_synced": "recorded_at", "id": "object_id", "livemode": "livemode", "plan_id": "price_id"}
        | _same("amount", "currency", "invoice_id", "period_start", "period_end", "price_id", "proration", "quantity")
        | _same("subscription_id", "subscription_item_id")
        | {"type": "case when subscription_item_id is null then 'invoiceitem' else 'subscription' end"}
        | {"unique_id": "object_id"},
    ),
    "payment_intent": FivetranSource(
        "nilometer.payment_intents",
        _ID
        | _same("amount", "amount_received", "canceled_at", "currency", "customer_id", "payment_method_id", "status"),
    ),
    "payment_method": FivetranSource("nilometer.payment_methods", _ID | _same("customer_id", "type")),
    "payment_method_card": FivetranSource(
        "nilometer.payment_methods where type = 'card'",
        {"_fivetran_synced": "recorded_at", "payment_method_id": "object_id", "type": "type"},
    ),
    "payout": FivetranSource(
        f"nilometer.payouts left join {_ENTRY} as entries on object_id = source_id",
        {**_ID, **_CONNECTED, **_same("amount", "arrival_date", "automatic", "currency", "status", "type")}
        | {"balance_transaction_id": "entry_id"},
    ),
    "payout_balance_transaction": FivetranSource(
        "nilometer.balance_transactions where type = 'payout'",
        {"_fivetran_synced": "recorded_at", "payout_id": "source_id", "balance_transaction_id": "object_id"},
    ),
    "plan": FivetranSource(
        "nilometer.prices where interval is not null",
        _PRICE
        | _same("interval", "interval_count")
        | {"amount": "unit_amount", "usage_type": _USAGE, "billing_scheme": _SCHEME},
    ),
    "price": FivetranSource(
        "nilometer.prices",
        _PRICE
        | {
            "billing_scheme": _SCHEME,
            "recurring_interval": "interval",
            "recurring_interval_count": "interval_count",
            "recurring_usage_type": _USAGE,
            "unit_amount": "unit_amount",
            "unit_amount_decimal": "unit_amount",
        },
    ),
    "product": FivetranSource(
        "nilometer.products",
        {**_GONE, **_same("active", "name", "livemode")}
        | {"fivetran_synced": "recorded_at", "id": "object_id", "created": "created_at"},
    ),
    "refund": FivetranSource(
        f"nilometer.refunds left join {_ENTRY} as entries on object_id = source_id",
        _MADE
        | _same("amount", "charge_id", "payment_intent_id", "currency", "reason", "status")
        | {"balance_transaction_id": "entry_id"},
    ),
    "subscription": FivetranSource(
        f"nilometer.subscriptions left join {_PERIODS} as periods on object_id = owner_id", _SUBSCRIPTION
    ),
    "subscription_discount": FivetranSource(
        "nilometer.discounts where subscription_id is not null and not deleted", _DISCOUNT
    ),
    "subscription_history": FivetranSource(
        "(select *, row_number() over ("
        f"partition by account, livemode, object_id order by {newest_first(BOOK_ORDER)}) = 1 as newest"
        " from nilometer.subscriptions_history where origin <> 'snapshot') as told"
        f" left join {_PERIODS} as periods on object_id = owner_id",
        _SUBSCRIPTION | {"_fivetran_active": "newest"},
    ),
    "subscription_item": FivetranSource(
        "nilometer.subscription_items",
        {"_fivetran_synced": "recorded_at", "id": "object_id", "plan_id": "price_id"}
        | _same("quantity", "subscription_id")
        | {"current_period_start": "period_start", "current_period_end": "period_end"},
    ),
    "transfer": FivetranSource(_EMPTY),
}
"""By name. `customer` and `price` of all modes: the package filters by `livemode`."""

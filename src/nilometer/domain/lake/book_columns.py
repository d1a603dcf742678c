"""The columns of the books, one line each: every Stripe object that has tables, and which fields of it are columns.

A field of a projection (`domain.stripe.registers.projection`) that is not named here is JSON in `other`. Amounts are
whole numbers of minor units of `currency`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from nilometer.domain.lake.tables import Type


@dataclass(frozen=True, slots=True)
class BookColumn:
    """A column and the field of the object's state that it shows; `pause.behavior` is one of a hash. `version` is the
    step that added it (docs/upgrade.md)."""

    type: Type
    name: str
    meaning: str
    field: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class BookShape:
    """The table of one object type. `parts` of it, such as an invoice's lines, have tables of their own."""

    name: str
    meaning: str
    columns: tuple[BookColumn, ...]
    parts: tuple[BookPart, ...] = ()


@dataclass(frozen=True, slots=True)
class BookPart:
    """The elements of the field `list` of an object, a row each; `owner` is the column of the object's id."""

    list: str
    owner: str
    shape: BookShape


def _column(kind: Type, name: str, meaning: str, field: str | None = None) -> BookColumn:
    return BookColumn(kind, name, meaning, field or name)


_Declare = Callable[..., BookColumn]
_text: _Declare = partial(_column, Type.STRING)
_count: _Declare = partial(_column, Type.INT64)
_flag: _Declare = partial(_column, Type.BOOL)
_time: _Declare = partial(_column, Type.TIMESTAMP)
_json: _Declare = partial(_column, Type.JSON)
_exact: _Declare = partial(_column, Type.DECIMAL)


def _of(object_name: str) -> BookColumn:
    return _text(f"{object_name}_id", f"Its {object_name.replace('_', ' ')}", object_name)


def _money(name: str, meaning: str) -> BookColumn:
    return _count(name, f"{meaning}, in minor units")


_CREATED = _time("created_at", "Its creation at Stripe", "created")
_CUSTOMER = _of("customer")
_CHARGE, _INTENT, _SUBSCRIPTION, _INVOICE = map(_of, ("charge", "payment_intent", "subscription", "invoice"))
_PRICE, _PRODUCT, _COUPON = map(_of, ("price", "product", "coupon"))
_CURRENCY = _text("currency", "ISO code of the currency, lower case")
_STATUS = _text("status", "Stripe's status")
_REASON = _text("reason", "Stripe's reason")
_TYPE = _text("type", "Stripe's type")
_ACTIVE = _flag("active", "Whether it is sold")
_AMOUNT = _count("amount", "In minor units")
_WORKSPACE = _text("workspace_id", "Workspace that its metadata names")
_CATALOG = _json("metadata", "The catalog's own metadata: plan, limits, seats, features")
_QUANTITY = _count("quantity", "How many")
_UNIT = _money("unit_amount", "Price of one")
_INTERVAL = _text("interval", "day, week, month or year; null when it is paid once")
_INTERVALS = _count("interval_count", "Intervals that one payment is for")
_METERED = _text("usage_type", "metered, or null when a quantity is paid for")
_PERIOD = (
    _time("period_start", "Begin of the period", "current_period_start"),
    _time("period_end", "End of the period", "current_period_end"),
)

_ITEMS = BookPart(
    "items",
    "subscription_id",
    BookShape(
        "subscription_items",
        "Items of subscriptions",
        (_PRICE, _PRODUCT, _CURRENCY, _UNIT, _QUANTITY, _INTERVAL, _INTERVALS, _METERED, *_PERIOD),
    ),
)
_LINES = BookPart(
    "lines",
    "invoice_id",
    BookShape(
        "invoice_lines",
        "Lines of invoices, the ten first of each",
        (
            _SUBSCRIPTION,
            _text("subscription_item_id", "Its item of a subscription", "item"),
            _PRICE,
            _PRODUCT,
            _CURRENCY,
            _AMOUNT,
            _QUANTITY,
            _money("discount", "Taken off by discounts"),
            _money("tax", "Tax on it"),
            _flag("proration", "Whether it is for a part of a period"),
            _time("period_start", "Begin of what it is for", "start"),
            _time("period_end", "End of what it is for", "end"),
        ),
    ),
)

SHAPES: Mapping[str, BookShape] = {
    "customer": BookShape(
        "customers",
        "Customers, without personal data",
        (
            _CREATED,
            _WORKSPACE,
            _flag("delinquent", "Whether a payment is overdue"),
            _text("default_payment_method_id", "What it pays with", "default_payment_method"),
        ),
    ),
    "product": BookShape("products", "Products", (_CREATED, _text("name", "Its name"), _ACTIVE, _CATALOG)),
    "price": BookShape(
        "prices",
        "Prices",
        (
            _CREATED,
            _PRODUCT,
            _ACTIVE,
            _CURRENCY,
            _UNIT,
            _INTERVAL,
            _INTERVALS,
            _METERED,
            _text("lookup_key", "Its lookup key"),
            _CATALOG,
        ),
    ),
    "coupon": BookShape(
        "coupons",
        "Coupons",
        (
            _CREATED,
            _exact("percent_off", "Percent taken off"),
            _money("amount_off", "Taken off each invoice"),
            _CURRENCY,
            _text("duration", "once, repeating or forever"),
            _count("duration_in_months", "For how long, when it repeats"),
            _flag("valid", "Whether it can be used"),
        ),
    ),
    "promotion_code": BookShape(
        "promotion_codes",
        "Promotion codes, without the code",
        (_CREATED, _CUSTOMER, _COUPON, _flag("active", "Whether it can be used"), _time("expires_at", "Its end")),
    ),
    "discount": BookShape(
        "discounts",
        "Coupons in use, by a customer, a subscription or one of its items",
        (
            _CUSTOMER,
            _SUBSCRIPTION,
            _text("subscription_item_id", "Its item of a subscription", "subscription_item"),
            _COUPON,
            _text("promotion_code_id", "Its promotion code", "promotion_code"),
            _time("starts_at", "Its begin", "start"),
            _time("ends_at", "Its end; null without one", "end"),
        ),
    ),
    "subscription": BookShape(
        "subscriptions",
        "Subscriptions with their items",
        (
            _CUSTOMER,
            _CREATED,
            _WORKSPACE,
            _STATUS,
            _text("collection_method", "charge_automatically or send_invoice"),
            _flag("cancel_at_period_end", "Whether it ends with its period"),
            _time("cancel_at", "When it will end"),
            _time("canceled_at", "Time at which its cancellation was requested"),
            _time("ended_at", "When it ended"),
            _time("trial_start", "Begin of the trial"),
            _time("trial_end", "End of the trial"),
            _text("latest_invoice_id", "Its newest invoice", "latest_invoice"),
            _text("schedule_id", "Its schedule", "schedule"),
            _text("pause_behavior", "What paused invoices become: void, keep_as_draft, ...", "pause.behavior"),
            _time("pause_ends_at", "Until when it is paused; null without an end", "pause.resumes_at"),
            _json("items", "Price, product, quantity, amount in minor units, interval and period of each item"),
        ),
        (_ITEMS,),
    ),
    "subscription_schedule": BookShape(
        "subscription_schedules",
        "Planned changes of subscriptions",
        (
            _CUSTOMER,
            _CREATED,
            _STATUS,
            _SUBSCRIPTION,
            _text("end_behavior", "What happens at its end: release or cancel"),
            _json("phases", "Begin, end, prices and quantities of each phase"),
        ),
    ),
    "entitlements.active_entitlement_summary": BookShape(
        "entitlements",
        "Features that a customer has; its id is the customer's",
        (_CUSTOMER, _json("features", "Lookup keys of the features")),
    ),
    "payment_method": BookShape(
        "payment_methods",
        "Payment methods, without numbers and names",
        (
            _CUSTOMER,
            _CREATED,
            _TYPE,
            _count("expires_month", "Month in which a card ends", "exp_month"),
            _count("expires_year", "Year in which a card ends", "exp_year"),
        ),
    ),
    "checkout.session": BookShape(
        "checkout_sessions",
        "Checkout sessions",
        (
            _CUSTOMER,
            _CREATED,
            _WORKSPACE,
            _STATUS,
            _text("payment_status", "paid, unpaid or no_payment_required"),
            _text("mode", "payment, setup or subscription"),
            _SUBSCRIPTION,
        ),
    ),
    "invoice": BookShape(
        "invoices",
        "Invoices",
        (
            _CUSTOMER,
            _CREATED,
            _STATUS,
            _SUBSCRIPTION,
            _CURRENCY,
            _money("subtotal", "Before discounts and tax"),
            _money("total", "After discounts and tax"),
            _money("amount_due", "To be paid"),
            _money("amount_paid", "Paid"),
            _money("amount_remaining", "Still to be paid"),
            _count("attempt_count", "Attempts to collect it"),
            _time("due_date", "When it is due"),
            _time("finalized_at", "When it was finalized"),
            _time("paid_at", "When it was paid"),
            _time("voided_at", "When it was voided"),
            _time("marked_uncollectible_at", "When it was marked uncollectible"),
            _time("next_payment_attempt", "The next attempt to collect it"),
        ),
        (_LINES,),
    ),
    "invoice_payment": BookShape(
        "invoice_payments",
        "Payments of invoices",
        (
            _CREATED,
            _STATUS,
            _INVOICE,
            _INTENT,
            _CURRENCY,
            _money("amount_paid", "Paid"),
            _time("paid_at", "When it was paid"),
        ),
    ),
    "payment_intent": BookShape(
        "payment_intents",
        "Payment intents",
        (
            _CUSTOMER,
            _CREATED,
            _STATUS,
            _CURRENCY,
            _AMOUNT,
            _money("amount_received", "Received"),
            _text("latest_charge_id", "Its newest charge", "latest_charge"),
            _text("payment_method_id", "What is paid with", "payment_method"),
            _time("canceled_at", "When it was canceled"),
        ),
    ),
    "charge": BookShape(
        "charges",
        "Charges",
        (
            _CUSTOMER,
            _CREATED,
            _STATUS,
            _INVOICE,
            _INTENT,
            _text("balance_transaction_id", "Its entry in the balance", "balance_transaction"),
            _CURRENCY,
            _AMOUNT,
            _money("amount_refunded", "Given back"),
            _flag("disputed", "Whether it is disputed"),
            _flag("refunded", "Whether all of it was given back"),
        ),
    ),
    "refund": BookShape("refunds", "Refunds", (_CREATED, _STATUS, _REASON, _CHARGE, _INTENT, _CURRENCY, _AMOUNT)),
    "dispute": BookShape("disputes", "Disputes", (_CREATED, _STATUS, _REASON, _CHARGE, _INTENT, _CURRENCY, _AMOUNT)),
    "credit_note": BookShape(
        "credit_notes",
        "Credit notes",
        (
            _CUSTOMER,
            _CREATED,
            _STATUS,
            _REASON,
            _TYPE,
            _INVOICE,
            _CURRENCY,
            _AMOUNT,
            _time("voided_at", "When it was voided"),
            replace(_money("pre_payment_amount", "Of a mixed one the part that was not paid yet"), version=2),
        ),
    ),
    "balance_transaction": BookShape(
        "balance_transactions",
        "Entries in the balance at Stripe, in the currency that is paid out",
        (
            _CREATED,
            _STATUS,
            _TYPE,
            _text("source_id", "What it is of: a charge, a refund, a payout", "source"),
            _CURRENCY,
            _AMOUNT,
            _money("fee", "Stripe's fee"),
            _money("net", "Amount less the fee"),
            _time("available_on", "When it can be paid out"),
        ),
    ),
    "payout": BookShape(
        "payouts",
        "Payouts to the bank",
        (
            _CREATED,
            _STATUS,
            _TYPE,
            _CURRENCY,
            _AMOUNT,
            _time("arrival_date", "When it arrives"),
            _flag("automatic", "Whether a schedule made it"),
        ),
    ),
}
"""By Stripe's `object`."""

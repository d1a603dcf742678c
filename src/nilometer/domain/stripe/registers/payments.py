"""What a register keeps of payments, discounts and payouts: what the books list and no billing record is folded from.

The whitelists of `projection` go on here.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from nilometer.domain.stripe.event import Object
from nilometer.domain.stripe.registers.projection import (
    UNREADABLE,
    Project,
    Read,
    Unreadable,
    boolean,
    flag,
    moment,
    part,
    quantity,
    reference,
    take,
    text,
    whole,
)


def _percentage(value: Any) -> Any:
    """From 0 to 100 as a decimal in text, with at most four digits after the point: 12.5 is exact."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and 0 <= value <= 100:
        return format(Decimal(str(value)).quantize(Decimal("0.0001")).normalize(), "f")
    return UNREADABLE


def _taking(**reads: Read) -> Project:
    """A projection of plain fields, and of references to other objects."""
    return lambda snapshot, bad: take(snapshot, reads, bad)


def _coupon_of(snapshot: Object, holder: str, bad: Unreadable) -> dict[str, Any]:
    """Until 2025-09-30 the coupon stood in its discount or promotion code whole."""
    return take(part(snapshot, holder, bad), {"coupon": reference}, bad) or take(snapshot, {"coupon": reference}, bad)


_DISCOUNT: Mapping[str, Read] = {
    **dict.fromkeys(("customer", "subscription", "subscription_item", "promotion_code"), reference),
    **dict.fromkeys(("start", "end"), moment),
}
_CODE: Mapping[str, Read] = {"created": moment, "active": boolean, "expires_at": moment, "customer": reference}
_PAYMENT: Mapping[str, Read] = {
    "created": moment,
    "status": text,
    "currency": text,
    "amount_paid": whole,
    "invoice": reference,
}


def _discount(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {**take(snapshot, _DISCOUNT, bad), **_coupon_of(snapshot, "source", bad)}


def _promotion_code(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {**take(snapshot, _CODE, bad), **_coupon_of(snapshot, "promotion", bad)}


def _invoice_payment(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    return {
        **take(snapshot, _PAYMENT, bad),
        **take(part(snapshot, "payment", bad), {"payment_intent": reference, "charge": reference}, bad),
        **take(part(snapshot, "status_transitions", bad), {"paid_at": moment}, bad),
    }


_NOTE: Mapping[str, Read] = {
    **dict.fromkeys(("created", "voided_at"), moment),
    **dict.fromkeys(("status", "reason", "type", "currency"), text),
    "amount": whole,
    **dict.fromkeys(("customer", "invoice"), reference),
}


def _credit_note(snapshot: Object, bad: Unreadable) -> dict[str, Any]:
    """Of one before and one after the payment the part is the whole or nothing, so that only a mixed one has it."""
    kept = take(snapshot, _NOTE, bad)
    return {**kept, **take(snapshot, {"pre_payment_amount": whole}, bad)} if kept.get("type") == "mixed" else kept


PAYMENTS: Mapping[str, Project] = {
    "coupon": _taking(
        created=moment,
        amount_off=whole,
        currency=text,
        duration=text,
        duration_in_months=quantity,
        percent_off=_percentage,
        valid=flag,
    ),
    "promotion_code": _promotion_code,
    "discount": _discount,
    "credit_note": _credit_note,
    "payment_intent": _taking(
        created=moment,
        status=text,
        currency=text,
        amount=whole,
        amount_received=whole,
        canceled_at=moment,
        customer=reference,
        latest_charge=reference,
        payment_method=reference,
    ),
    "charge": _taking(
        created=moment,
        status=text,
        currency=text,
        amount=whole,
        amount_refunded=whole,
        disputed=boolean,
        refunded=boolean,
        customer=reference,
        invoice=reference,
        payment_intent=reference,
        balance_transaction=reference,
    ),
    "invoice_payment": _invoice_payment,
    "balance_transaction": _taking(
        created=moment,
        status=text,
        type=text,
        currency=text,
        amount=whole,
        fee=whole,
        net=whole,
        available_on=moment,
        source=reference,
    ),
    "payout": _taking(
        created=moment,
        status=text,
        type=text,
        currency=text,
        amount=whole,
        arrival_date=moment,
        automatic=boolean,
    ),
}

"""What happens to a charge in a `StripeWorld`: disputes, refunds, early fraud warnings."""

from __future__ import annotations

from nilometer.local.stripe.world import StripeWorld


def dispute(world: StripeWorld, charge: str, reason: str = "fraudulent") -> str:
    """The cardholder's bank asks for the money back."""
    paid = world.objects[charge]
    world.update(charge, disputed=True)
    return world.create(
        {
            "id": world.new_id("dp", 24),
            "object": "dispute",
            "amount": paid["amount"],
            "charge": charge,
            "created": world.second,
            "currency": paid["currency"],
            "is_charge_refundable": False,
            "metadata": {},
            "payment_intent": None,
            "reason": reason,
            "status": "needs_response",
        }
    )


def close_dispute(world: StripeWorld, dispute: str, status: str) -> None:
    """`status`: won, lost."""
    world.update(dispute, status=status)
    world.emit("charge.dispute.closed", world.objects[dispute])


def refund(world: StripeWorld, charge: str, amount: int) -> str:
    """Of `amount` cents at once; gives the refund's id. A charge refunded in full says so."""
    paid = world.objects[charge]
    refunded = paid["amount_refunded"] + amount
    made = world.create(
        {
            "id": world.new_id("re", 24),
            "object": "refund",
            "amount": amount,
            "charge": charge,
            "created": world.second,
            "currency": paid["currency"],
            "metadata": {},
            "payment_intent": None,
            "reason": "requested_by_customer",
            "status": "succeeded",
        }
    )
    world.update(charge, amount_refunded=refunded, refunded=refunded == paid["amount"])
    world.emit("charge.refunded", world.objects[charge])
    return made


def warn_of_fraud(world: StripeWorld, charge: str) -> str:
    """An early fraud warning of the card's issuer; gives its id."""
    return world.create(
        {
            "id": world.new_id("issfr", 24),
            "object": "radar.early_fraud_warning",
            "actionable": True,
            "charge": charge,
            "created": world.second,
            "fraud_type": "unauthorized_use_of_card",
            "payment_intent": None,
        }
    )

"""Planned changes of a subscription in a `StripeWorld`."""

from __future__ import annotations

from nilometer.local.stripe.world import StripeWorld


def schedule(world: StripeWorld, subscription: str, price: str, quantity: int = 1) -> str:
    """The subscription changes to `price` when its period ends."""
    owner = world.objects[subscription]
    first = owner["items"]["data"][0]
    now, then = first["current_period_start"], first["current_period_end"]
    made = world.create(
        {
            "id": world.new_id("sub_sched", 24),
            "object": "subscription_schedule",
            "canceled_at": None,
            "completed_at": None,
            "created": world.second,
            "current_phase": {"start_date": now, "end_date": then},
            "customer": owner["customer"],
            "end_behavior": "release",
            "metadata": {},
            "phases": [
                _phase(first["price"]["id"], first["quantity"], now, then),
                _phase(price, quantity, then, then + (then - now)),
            ],
            "released_at": None,
            "status": "active",
            "subscription": subscription,
        }
    )
    world.update(subscription, schedule=made)
    return made


def release(world: StripeWorld, schedule: str) -> None:
    """The plan is dropped; the subscription stays as it is."""
    subscription = world.objects[schedule]["subscription"]
    world.update(schedule, status="released", released_at=world.second, subscription=None)
    world.emit("subscription_schedule.released", world.objects[schedule])
    world.update(subscription, schedule=None)


def _phase(price: str, quantity: int, start: int, end: int) -> dict[str, object]:
    items = [{"price": price, "quantity": quantity}]
    return {"start_date": start, "end_date": end, "items": items, "metadata": {}}

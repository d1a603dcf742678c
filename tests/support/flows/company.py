"""A Stripe account with one product and one price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from nilometer.local.stripe.world import StripeWorld

START = datetime(2026, 11, 1, tzinfo=UTC)


def company(seed: int = 0, **options: Any) -> tuple[StripeWorld, str, str]:
    """A world with a product and a price: (world, product, price)."""
    world = StripeWorld(START, seed=seed, **options)
    product = world.product("Papyrus", {"limit_api_calls": "1000/seat", "plan": "papyrus"})
    price = world.price(product, 4900)
    world.advance(timedelta(seconds=5))
    return world, product, price

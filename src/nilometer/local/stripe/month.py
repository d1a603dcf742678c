"""A company's month in a `StripeWorld`: many customers, ties within a second, every change of a subscription."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nilometer.local.stripe.world import StripeWorld

START = datetime(2026, 10, 1, tzinfo=UTC)
LIVING = {"active", "trialing", "past_due"}


def random_month(
    seed: int, customers: int = 20, *, now: datetime = START, steps: int = 6, mixed: bool = False
) -> StripeWorld:
    """About `steps` turns a customer after signing up. Each customer's workspace is `ws_<n>`. `mixed`: the items of a
    subscription renew in different intervals."""
    world = StripeWorld(now, seed=seed)
    chance = random.Random(seed)
    prices = _catalog(world)
    prices = [*prices, *_in_other_intervals(world)] if mixed else prices[::2]
    subscriptions = [_sign_up(world, chance, prices, n) for n in range(customers)]
    for _ in range(steps * customers):
        _pause(world, chance)
        _turn(world, chance, prices, chance.choice(subscriptions))
    return world


def _catalog(world: StripeWorld) -> list[str]:
    prices = []
    for name, amount, calls in (("Reed", 1900, 10_000), ("Papyrus", 4900, 100_000), ("Obelisk", 19900, 1_000_000)):
        product = world.product(name, {"limit_api_calls": str(calls), "plan": name.lower()})
        prices.append(world.price(product, amount))
        prices.append(world.price(product, amount * 10, "year"))
    world.advance(timedelta(hours=1))
    return prices


def _in_other_intervals(world: StripeWorld) -> list[str]:
    product = world.product("Delta", {"limit_api_calls": "1000"})
    return [world.price(product, 500, "week"), world.price(product, 5000, "month", interval_count=3)]


def _sign_up(world: StripeWorld, chance: random.Random, prices: list[str], number: int) -> str:
    items = [(price, chance.randint(1, 9)) for price in chance.sample(prices, chance.choice((1, 1, 1, 2)))]
    world.advance(timedelta(seconds=chance.choice((0, 1, 2, 400))))
    if chance.random() < 0.15:
        return world.checkout(f"ws_{number}", items)
    customer = world.customer(f"ws_{number}")
    return world.subscribe(customer, items, trial_days=chance.choice((0, 0, 0, 14)))


def _pause(world: StripeWorld, chance: random.Random) -> None:
    """Often none at all: several turns share a second."""
    world.advance(timedelta(seconds=chance.choice((0, 0, 1, 1, 2, 60, 3600))))


def _turn(world: StripeWorld, chance: random.Random, prices: list[str], subscription: str) -> None:
    status = world.objects[subscription]["status"]
    turns: list[Callable[[], None]] = []
    if status in LIVING:
        turns += _changes(world, chance, prices, subscription)
    if status == "past_due":
        turns = [lambda: world.recover_payment(subscription), lambda: world.fail_payment(subscription)] * 3
        turns += [lambda: world.give_up_payment(subscription)]
    if status == "paused":
        turns = [lambda: world.resume(subscription)]
    if turns:
        chance.choice(turns)()


def _changes(
    world: StripeWorld, chance: random.Random, prices: list[str], subscription: str
) -> list[Callable[[], None]]:
    scheduled = world.objects[subscription]["cancel_at_period_end"]
    return [
        lambda: world.change_quantity(subscription, chance.randint(1, 20)),
        lambda: world.change_quantity(subscription, chance.randint(1, 3)),
        lambda: world.change_price(subscription, chance.choice(prices)),
        lambda: world.add_item(subscription, chance.choice(prices)),
        lambda: world.renew(subscription),
        lambda: world.fail_payment(subscription),
        lambda: world.cancel_at_period_end(subscription, on=not scheduled),
        lambda: world.cancel_at_period_end(subscription, on=not scheduled),
        lambda: _there_and_back(world, subscription),
        lambda: world.pause(subscription),
        *_removals(world, chance, subscription),
        *([lambda: world.cancel(subscription)] if chance.random() < 0.4 else []),
    ]


def _removals(world: StripeWorld, chance: random.Random, subscription: str) -> list[Callable[[], None]]:
    """Of an item, where they renew in different intervals."""
    items = world.objects[subscription]["items"]["data"]
    if len({item["current_period_end"] for item in items}) < 2:
        return []
    return [lambda: world.remove_item(subscription, chance.randrange(len(items)))]


def _there_and_back(world: StripeWorld, subscription: str) -> None:
    """Within one second everything changes and changes back."""
    quantity = world.objects[subscription]["items"]["data"][0]["quantity"]
    world.change_quantity(subscription, quantity + 1)
    world.change_quantity(subscription, quantity)

"""What the people, services and customers of a day do, by the dice of a seed, and what must be true of it later."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cache, partial
from random import Random
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant
from tests.support.simulation.scopes.events import envelope, void
from tests.support.simulation.scopes.people import members
from tests.support.simulation.scopes.usage.counting import event

from nilometer import ChangeRole, RemoveMember, perform
from nilometer.domain.acts.roles import Role
from nilometer.errors import Refused, Unavailable
from nilometer.flows.limits import reserving
from nilometer.local.stripe.month import random_month
from nilometer.local.stripe.world import StripeWorld

WORKSPACES = ("a", "a", "b", "late")
AMOUNTS = ("1", "2.5", "0.000000001", "999999999999999", "0")
Send = Callable[[str], None]


@dataclass
class DayTruth:
    """What was meant: exact totals of `m`, users of a unique meter, events that count, events that are refused."""

    totals: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    users: set[tuple[str, str]] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    granted: dict[str, int] = field(default_factory=dict)


def publish_usage(dice: Random, truth: DayTruth, send: Send) -> None:
    """Usage of three workspaces, one of which is not known yet; voids, copies, and what is wrong."""
    sent = [one for number in range(dice.randint(8, 20)) for one in _usage(dice, truth, f"u{number}")]
    sent += dice.choices(sent, k=len(sent) // 3)
    dice.shuffle(sent)
    for one in sent:
        send(envelope(one))


def _usage(dice: Random, truth: DayTruth, name: str) -> list[dict[str, Any]]:
    kind, workspace = dice.choice(("m", "m", "m", "top", "level", "users", "void", "bad")), dice.choice(WORKSPACES)
    at, amount = NOW - timedelta(minutes=dice.randint(1, 600)), dice.choice(AMOUNTS)
    if kind == "bad":
        truth.refused.add(name)
        return [event(name, "-1", "m", workspace)]
    truth.counted.add(name)
    if kind == "void":
        truth.counted.add(f"v{name}")
        return [event(name, amount, "m", workspace, time=at), void(name, f"v{name}", workspace=workspace)]
    if kind == "users":
        user = dice.choice("xyz")
        truth.users.add((workspace, user))
        return [event(name, "1", "users", workspace, time=at, dimensions={"user": user})]
    truth.totals[workspace] += Decimal(amount) if kind == "m" else 0
    return [event(name, amount, kind, workspace, time=at)]


def publish_stripe(dice: Random, world: StripeWorld, send: Send) -> None:
    """A customer's turns, in any order, a fifth of them twice."""
    events = world.events + dice.choices(world.events, k=len(world.events) // 5)
    dice.shuffle(events)
    for one in events:
        send(envelope(one, source="nilometer.webhook"))


def reserve(dice: Random, truth: DayTruth, plant: Plant, send: Send) -> None:
    """Clients of a hard limit; some use what they hold, some give it back, some forget it."""
    for number in range(dice.randint(2, 6)):
        client = partial(
            _client, plant, truth, send, number, dice.randint(1, 25), dice.choice(("use", "use", "release", ""))
        )
        plant.repeat(f"client {number}", client, until=Unavailable)


def _client(plant: Plant, truth: DayTruth, send: Send, number: int, amount: int, then: str) -> None:
    known, now = plant.known(), plant.world.now
    try:
        answer = reserving.reserve(
            known,
            f"r{number}",
            workspace_id="a",
            meter="held",
            quantity=Decimal(amount),
            ttl=timedelta(minutes=5),
            now=now,
        )
    except Refused:
        return
    if answer.granted and then == "use":
        truth.granted[f"h{number}"] = amount
        truth.counted.add(f"h{number}")
        send(envelope(event(f"h{number}", str(amount), "held", "a", time=NOW, reservation_id=f"r{number}")))
    elif answer.granted and then == "release":
        reserving.release(known, f"r{number}", workspace_id="a", now=now)


def manage_people(dice: Random, plant: Plant) -> None:
    """Admins change each other's roles and leave."""
    answers: Counter[str] = Counter()
    for number in range(dice.randint(1, 4)):
        one, other = dice.sample(("u0", "u1", "u2"), 2)
        role = dice.choice((Role.VIEWER, Role.ADMIN))
        caller = members.admin(one)
        changed = ChangeRole(user_id=other, role=role)
        deed: Callable[[], Any] = partial(perform, plant.store, caller, changed, now=NOW)
        if dice.random() < 0.3:
            deed = partial(perform, plant.store, caller, RemoveMember(user_id=one), now=NOW)
        members.attempt(plant, f"person {number}", deed, answers)


@cache
def stripe_world(seed: int) -> StripeWorld:
    """A few turns of one customer."""
    return random_month(seed, customers=1, steps=2)

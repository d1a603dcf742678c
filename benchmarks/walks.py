"""Adversarial walks within a second: `python benchmarks/walks.py [--walks 60000] [--steps 12]`.

A subscription changes up to twelve times within one second, often back to where it was; the events arrive shuffled,
some twice. Nothing lost: how many registers end wrong, and how many say that they are in doubt. One event lost, the
last one or another: how many are right, flagged, or a consistent history of their own, which no rule on events can
see and the nightly comparison with Stripe repairs.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Sequence

from nilometer.domain.stripe.event import Scope, StripeEvent
from nilometer.domain.stripe.registers.register import of_event, register
from nilometer.domain.stripe.registers.resolve import resolve

State = tuple[str, int]

STATES: Sequence[State] = [("active", 0), ("active", 1), ("active", 2), ("past_due", 1), ("paused", 2)]


def event(number: int, second: int, before: State, after: State) -> StripeEvent:
    names = ("status", "cancel_at")
    state = dict(zip(names, after, strict=True))
    return StripeEvent(
        id=f"evt_{number}",
        type="customer.subscription.updated",
        scope=Scope(),
        created=second,
        object={"id": "sub_1", "object": "subscription", "created": 1, "customer": "cus_1", **state},
        previous={name: old for name, old in zip(names, before, strict=True) if old != state[name]},
    )


def walk(chance: random.Random, steps: int) -> tuple[list[StripeEvent], State]:
    """An event of the second before, which says where the walk begins; the walk; where it ends."""
    state = chance.choice(STATES)
    events = [event(0, 99, STATES[1], state)]
    for number in range(chance.randint(1, steps)):
        before, state = state, chance.choice(STATES)
        events.append(event(number + 1, 100, before, state))
    return events, state


def outcome(events: Sequence[StripeEvent], truth: State, chance: random.Random) -> str:
    arrived = [*events, *chance.choices(events, k=2)]
    chance.shuffle(arrived)
    found = resolve(register(map(of_event, arrived)))
    if found is None or found.ambiguous:
        return "flagged"
    return "right" if (found.state["status"], found.state.get("cancel_at")) == truth else "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("nothing lost", "the last lost", "another lost")}
    for _ in range(options.walks):
        events, truth = walk(chance, options.steps)
        lost = chance.randrange(len(events) - 1)
        counts["nothing lost"][outcome(events, truth, chance)] += 1
        counts["the last lost"][outcome(events[:-1], truth, chance)] += 1
        counts["another lost"][outcome([*events[:lost], *events[lost + 1 :]], truth, chance)] += 1
    for name, found in counts.items():
        print(json.dumps({"case": name, "walks": options.walks, **dict(sorted(found.items()))}), flush=True)


if __name__ == "__main__":
    main()

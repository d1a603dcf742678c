"""The laws of the register, on random histories with many events a second."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.events.stripe import merged, updated

from nilometer.domain.stripe.event import Scope, StripeEvent
from nilometer.domain.stripe.registers.register import Register, merge, of_event, pack, register, unpack
from nilometer.domain.stripe.registers.resolve import resolve

STATES = [("active", n) for n in range(3)] + [("past_due", 1), ("paused", 2)]


@st.composite
def histories(draw: st.DrawFn) -> list[StripeEvent]:
    """A true history: a start, then steps, several in a second; now and then a snapshot without an edge, or the end."""
    second, state = 100, STATES[0]
    events = [_event("created", second, state, None)]
    for step in draw(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(STATES), st.integers(0, 9)), max_size=14)):
        wait, after, kind = step
        second += wait
        events.append(
            _event("trial_will_end" if kind == 9 else "updated", second, state if kind == 9 else after, state)
        )
        state = state if kind == 9 else after
    if draw(st.booleans()):
        events.append(_event("deleted", second, ("canceled", state[1]), None))
    return events


def _event(kind: str, second: int, after: tuple[str, int], before: tuple[str, int] | None) -> StripeEvent:
    previous = None
    if before is not None and kind == "updated":
        previous = {k: v for k, v, new in zip(("status", "cancel_at"), before, after, strict=True) if v != new}
    base = updated(second, {}, status=after[0], cancel_at=after[1])
    kind = f"customer.subscription.{kind}"
    return StripeEvent(
        id=base.id, type=kind, scope=Scope(), created=second, object=base.object, previous=previous, api_version=None
    )


@settings(max_examples=300, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(history: list[StripeEvent], chance: random.Random) -> None:
    """Any permutation with any duplicates is one register."""
    scrambled = history + chance.choices(history, k=3)
    chance.shuffle(scrambled)

    assert merged(scrambled) == merged(history)


@settings(max_examples=300, deadline=None)
@given(histories(), histories(), histories())
def test_merge_is_a_join(a: list[StripeEvent], b: list[StripeEvent], c: list[StripeEvent]) -> None:
    """Commutative, associative, idempotent: so batching and concurrency do not matter."""
    x, y, z = merged(a), merged(b), merged(c)

    assert merge(x, y) == merge(y, x)
    assert merge(merge(x, y), z) == merge(x, merge(y, z))
    assert merge(x, x) == x
    assert merge(x, Register()) == x


@settings(max_examples=500, deadline=None)
@given(histories())
def test_a_whole_history_ends_true_or_in_doubt(history: list[StripeEvent]) -> None:
    """With all events the state is Stripe's; where a second leaves two answers, that is said."""
    last, found = history[-1].object, resolve(merged(history))

    assert found
    if not found.ambiguous:
        assert (found.state["status"], found.state.get("cancel_at")) == (last["status"], last["cancel_at"])


@settings(max_examples=200, deadline=None)
@given(histories())
def test_the_item_holds_all_of_a_register(history: list[StripeEvent]) -> None:
    """Packed and unpacked it is the same value, and equal registers are equal bytes."""
    whole = merged(history)

    assert unpack(pack(whole)) == whole
    assert pack(unpack(pack(whole))) == pack(whole)


@settings(max_examples=200, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_a_split_anywhere_merges_to_the_same(history: list[StripeEvent], chance: random.Random) -> None:
    """Two consumers with parts of the history, one merge of their stored registers."""
    parts: list[list[StripeEvent]] = [[], []]
    for event in history:
        chance.choice(parts).append(event)
    left, right = (unpack(pack(merged(part))) if part else Register() for part in parts)

    assert merge(left, right) == merged(history)


def test_adversarial_walks() -> None:
    """Long walks within one second, shuffled: never a wrong state without a doubt, and doubts only where two fit."""
    chance = random.Random(5)
    for _ in range(3000):
        start, steps = chance.choice(STATES), chance.randint(1, 7)
        anchor = _event("updated", 99, start, STATES[1])
        history, state = [anchor], start
        for _ in range(steps):
            after = chance.choice(STATES)
            history.append(_event("updated", 100, after, state))
            state = after
        scrambled = history + chance.choices(history, k=2)
        chance.shuffle(scrambled)

        found = resolve(register(of_event(event) for event in scrambled))

        assert found
        assert not found.ambiguous
        assert (found.state["status"], found.state.get("cancel_at")) == state


def test_a_beginning_that_is_forgotten_is_a_doubt() -> None:
    """Seven seconds that each lead back to where they began: the first known beginning is out of sight."""
    history = [_event("updated", 99, STATES[0], STATES[1])]
    for second in range(100, 107):
        history += [_event("updated", second, STATES[1], STATES[0]), _event("updated", second, STATES[0], STATES[1])]

    remembered, forgotten = resolve(merged(history[:11])), resolve(merged(history))

    assert remembered
    assert forgotten
    assert (remembered.ambiguous, remembered.state.get("cancel_at")) == (False, STATES[0][1])
    assert forgotten.ambiguous

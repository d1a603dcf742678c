"""Chaos that can be repeated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nilometer.local.workers.chaos import DELAY_SECONDS, KILL_SECONDS, NONE, Chaos, Dice, Sabotage

PROBABILITY = st.floats(0, 1)
SEEDS = st.integers(0, 2**32)


def fates(chaos: Chaos, source: str = "queue", count: int = 50) -> list[Sabotage]:
    dice = Dice(chaos, source)
    return [dice.sabotage() for _ in range(count)]


@given(SEEDS, PROBABILITY, PROBABILITY, PROBABILITY)
def test_the_same_seed_decides_the_same(seed: int, delay: float, kill: float, drop: float) -> None:
    """For each source by itself, whatever the others do."""
    chaos = Chaos(seed, delay=delay, kill=kill, drop_answer=drop)

    assert fates(chaos) == fates(chaos)


@given(SEEDS, PROBABILITY)
def test_one_switch_does_not_move_the_others(seed: int, kill: float) -> None:
    """So that a failure can be narrowed down."""
    alone = fates(Chaos(seed, kill=kill))
    together = fates(Chaos(seed, kill=kill, delay=1, drop_answer=1))

    assert [(f.kill_after, f.kill_finished) for f in alone] == [(f.kill_after, f.kill_finished) for f in together]


def test_sources_and_seeds_differ() -> None:
    """Two queues do not fail in step."""
    chaos = Chaos(1, kill=0.5)

    assert fates(chaos, "a") != fates(chaos, "b")
    assert fates(chaos) != fates(Chaos(2, kill=0.5))


@given(SEEDS)
def test_probabilities_are_kept(seed: int) -> None:
    """Never at 0, always at 1, within their bounds; spared is spared."""
    never, always = Dice(Chaos(seed), "s"), Dice(Chaos(seed, 1, 1, 1, 1, 1), "s")

    assert never.sabotage() == NONE
    assert not never.duplicated()
    assert not never.held_back()
    assert always.duplicated()
    assert always.held_back()
    fate = always.sabotage()
    assert fate.drop_answer
    assert fate.kill_finished is (fate.kill_after is None)
    assert 0 <= (fate.kill_after or 0) <= KILL_SECONDS
    assert 0 <= fate.delay <= DELAY_SECONDS
    spared = always.sabotage(spared=True)
    assert (spared.kill_after, spared.kill_finished, spared.drop_answer) == (None, False, False)


@given(SEEDS, st.lists(st.integers()))
def test_an_order_keeps_every_item(seed: int, items: list[int]) -> None:
    """Without `reorder` also their order."""
    assert sorted(Dice(Chaos(seed, reorder=1), "s").order(items)) == sorted(items)
    assert Dice(Chaos(seed), "s").order(items) == items

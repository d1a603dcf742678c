"""The simulation finds planted bugs: the list of them is current, and what it says holds."""

from __future__ import annotations

import random
import time

from tests.support.simulation.teeth.planting import planted
from tests.support.simulation.teeth.verdicts import SHARE, all_bugs, finds, known, replayed, share_found, told

LEAST_BUGS = 60
LEAST_TRIED = 10
SECONDS = 40.0  # of CPU


def test_the_list_is_current() -> None:
    """Every bug of the list can be planted in the source as it is; `make teeth` judges what is new."""
    gone = known().keys() - all_bugs().keys()

    assert not gone, "their place has changed: make teeth"


def test_the_list_is_long_and_its_bugs_are_found() -> None:
    """No smaller share than before of those that change something; each of the others has its reason in writing."""
    verdicts = known()

    assert len(verdicts) >= LEAST_BUGS
    assert share_found(verdicts) >= SHARE, told(verdicts)
    assert all(one["equal"] for one in verdicts.values() if "equal" in one)
    assert all(one["missed"] for one in verdicts.values() if "missed" in one)


def test_a_sample_is_found_again() -> None:
    """By the schedules of the list, in an order that changes with it: as many as the time allows, and at least ten."""
    verdicts = {name: one for name, one in known().items() if "scope" in one and "search" not in one}
    sample = random.Random(len(verdicts)).sample(sorted(verdicts), len(verdicts))
    began, tried = time.process_time(), 0
    for name in sample:
        assert finds(all_bugs()[name], verdicts[name]), f"{name} is not found any more: make teeth"
        tried += 1
        if tried >= LEAST_TRIED and time.process_time() - began > SECONDS:
            break

    assert tried >= LEAST_TRIED


def test_a_planted_bug_is_taken_out_again() -> None:
    """Its schedule breaks a law with it, and none without it."""
    verdicts = known()
    name = next(name for name, one in sorted(verdicts.items()) if "scope" in one)
    bug = all_bugs()[name]
    assert finds(bug, verdicts[name])

    with planted(bug):
        pass

    assert replayed(verdicts[name]) == ""

"""Every schedule of every scope, with every placement of its faults: no law is broken."""

from __future__ import annotations

import pytest
from tests.support.simulation.kernel.choices import Seeded
from tests.support.simulation.kernel.scope import Scope, explore, play, story
from tests.support.simulation.scopes.catalog import BY_NAME, ENDING, LARGE
from tests.support.simulation.services.template import queues, streams

END = 300.0  # seconds of CPU by which a scope that ends has ended, on a slow machine too
SECONDS = 3.0  # of CPU for each larger scope: how far the search comes
SMALL = ("the same, with cold caches", "two Admins demote each other", "one slug is taken twice", "two mark a boundary")
ENDING_SCOPES = 30


@pytest.mark.parametrize("scope", ENDING, ids=lambda scope: scope.name)
def test_no_schedule_of_a_scope_breaks_a_law(scope: Scope) -> None:
    """All interleavings, times all placements of at most two faults, to the end; a failure is a story."""
    found = explore(scope, stop=True, seconds=END)

    assert not found.broken, "\n".join(["", *story(scope, found.first)[0], *found.broken])
    assert found.ended, f"{found.schedules:,} schedules and no end: make it smaller, or list it as large"
    print(f"{found.schedules:,} schedules, {found.states:,} states, {found.seconds:.1f} s of CPU")


def test_thirty_scopes_end_with_two_faults() -> None:
    """What is large is tried as far as it goes, and is no proof."""
    assert len(ENDING) >= ENDING_SCOPES
    assert all(scope.faults == 2 for scope in ENDING)


@pytest.mark.parametrize("scope", LARGE, ids=lambda scope: scope.name)
def test_no_schedule_of_a_large_scope_breaks_a_law(scope: Scope) -> None:
    """As far as the seconds go; `python -m tests.simulation scope` goes to the end of each."""
    found = explore(scope, stop=True, seconds=SECONDS)

    assert not found.broken, "\n".join(["", *story(scope, found.first)[0], *found.broken])
    assert found.ends


@pytest.mark.parametrize("name", SMALL)
def test_pruning_loses_no_end(name: str) -> None:
    """What was pruned ends as something that was not: the full search finds the same ends."""
    full, pruned = (explore(BY_NAME[name], faults=1, pruned=pruned) for pruned in (False, True))

    assert pruned.ends == full.ends
    assert full.pruned == 0
    assert 0 < pruned.schedules < full.schedules


def test_a_schedule_is_its_list_of_choices() -> None:
    """What a seed did can be done again from the answers that it gave, to the last request."""
    scope = ENDING[0]
    likely = {"turn": 0.5, "fault": 0.1}
    for seed in range(20):
        chooser = Seeded(seed, likely)
        first = play(scope, chooser, faults=2)
        lines, broken = story(scope, chooser.taken)

        assert broken == ""
        assert len([line for line in lines if "— " in line or ": " in line]) >= 5
        again = Seeded(seed, likely)
        assert play(scope, again, faults=2).tables.digest == first.tables.digest
        assert again.taken == chooser.taken


def test_the_template_gives_the_numbers() -> None:
    """Queues and streams of the simulation are those of template.yaml."""
    assert {"Billing", "Usage", "Operations", "LakeUsage", "Datasets"} <= queues().keys()
    assert {"RecordsStream", "EventsStream", "LimitsStream"} <= streams().keys()
    assert all(one.receives > 1 and one.batch > 0 for one in queues().values())

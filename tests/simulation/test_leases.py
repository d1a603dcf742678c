"""Leases in schedules drawn by seed: nothing is oversold.

NILOMETER_SEEDS makes it longer; 10,000 of three holders take a quarter of an hour of CPU.
"""

from __future__ import annotations

import os

import pytest
from tests.support.simulation.kernel.choices import Seeded
from tests.support.simulation.kernel.scope import Scope, play
from tests.support.simulation.scopes.limits.leases import SCOPES

SEEDS = int(os.environ.get("NILOMETER_SEEDS", "60"))


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_no_seed_oversells_a_limit(scope: Scope) -> None:
    """Holders with clocks five minutes apart, who die, lose answers and meet in any order."""
    for seed in range(SEEDS):
        play(scope, Seeded(seed, {"turn": 0.5, "fault": 0.03}), faults=4)

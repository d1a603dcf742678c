"""A service in trouble for up to an hour of played time, and nobody does anything: all heals.

`make drills` plays the whole matrix.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.simulation.drills import company
from tests.support.simulation.drills.company import CompanyDrill
from tests.support.simulation.drills.matrix import MATRIX, drilled, outage
from tests.support.simulation.drills.outages import FUNCTIONS, QUEUES, SERVICES, Outage, Trouble
from tests.support.simulation.services.template import queues

SOME = (
    outage("bus", Trouble.AWAY, 60),
    outage("queue LakeAudit", Trouble.SLOW, 10),
    outage("queue Hooks", Trouble.SLOW, 60),
    outage("tables", Trouble.SLOW, 60),
    outage("bucket", Trouble.AWAY, 60),
    outage("secrets", Trouble.THROTTLED, 10),
    outage("Stripe", Trouble.AWAY, 60),
    outage(FUNCTIONS, Trouble.BROKEN, 10),
)


@pytest.mark.parametrize("one", SOME, ids=lambda one: f"{one.service} {one.trouble} {one.minutes}")
def test_an_outage_heals_by_itself(one: Outage) -> None:
    """All is in the lake, alerts are put, Stripe's meter has all, `verify` is equal; within hours of played time."""
    found = drilled(one)

    assert found.broken == ""
    assert found.healed < timedelta(hours=12)


def test_a_drill_finds_what_does_not_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the scheduled redrive an hour without the tables leaves dead letters."""
    monkeypatch.setattr(CompanyDrill, "_redrive", lambda _: None)
    monkeypatch.setattr(company, "LONGEST", timedelta(hours=4))

    assert "not healed: {'dead " in drilled(outage("tables", Trouble.AWAY, 60)).broken


def test_every_service_of_the_template_has_its_drills() -> None:
    """Each queue too: a new one must get drills of its own."""
    assert set(QUEUES) == set(queues())
    assert {one.service for one in MATRIX} == {*SERVICES, FUNCTIONS}
    assert len(MATRIX) == len(SERVICES) * 3 * 3 + 1

"""Scopes of leases: what holders give out never exceeds a hard limit, whoever dies and whatever clocks do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.reservations import HARD, allowance_holds, limited, reservations, used_up
from tests.support.simulation.scopes.usage import START, consume, counted, event, law

from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable
from nilometer.flows.limits.leasing import Lease

SKEWS = (timedelta(0), timedelta(minutes=5), timedelta(minutes=-5))
"""How far the clocks of the holders are off."""


def holder(plant: Plant, name: str, checks: int, given: list[Decimal], *, clock: timedelta, quantity: int = 1) -> None:
    """A process that checks until it is refused or done, then closes its lease; after a death another one comes."""
    ids = itertools.count(1)

    def report(block_id: str, amount: Decimal, at: datetime) -> None:
        consume(plant, f"usage of {block_id}", [event(block_id, str(amount), reservation_id=block_id, time=at)])

    def work() -> None:
        lease = Lease(
            known=plant.known(),
            workspace_id="a",
            meter="m",
            report=report,
            new_id=lambda: f"{name}-{next(ids)}",
            now=lambda: NOW + clock,
            monotonic=plant.world.monotonic,
            refills=False,
        )
        for _ in range(checks):
            if not lease.check(Decimal(quantity)):
                break
            given.append(Decimal(quantity))
        lease.close()

    plant.repeat(name, work, times=3, until=Unavailable)


def held(plant: Plant) -> Decimal:
    """By blocks that nobody reported."""
    return Decimal(sum(one["quantity"] for one in reservations(plant) if one["status"] == "open"))


def leased(holders: int, checks: int, quantity: int, before: int) -> Callable[[Plant], Callable[[], None]]:
    """Holders with clocks that differ; `before` is used already."""

    def prepare(plant: Plant) -> Callable[[], None]:
        given: list[Decimal] = []
        for number in range(holders):
            skew = SKEWS[number % len(SKEWS)]
            holder(plant, f"holder {number}", checks, given, clock=skew, quantity=quantity)

        def invariant() -> None:
            allowance_holds(plant)
            law(sum(given) + before <= HARD, f"{sum(given)} were given out and {before} used before, of {HARD}")

        plant.world.invariant = invariant

        def laws() -> None:
            used = counted(plant) - before
            law(used <= sum(given), f"{used} are counted, {sum(given)} were given out")
            law(plant.world.faults > 0 or used == sum(given), f"{sum(given)} were given out and {used} are counted")
            law(sum(given) - used <= held(plant), "what was given out is neither counted nor held")
            law(used + before + held(plant) <= HARD, f"{used} used and {held(plant)} held of {HARD}")
            item = plant.store.get(Table.RECORDS, keys.allowance("a", "m", START), consistent=True) or {}
            law(item["remaining"] <= HARD - before - used - held(plant), f"the allowance is {item}")

        return laws

    return prepare


SMALL = (
    Scope("a lease of one process", leased(1, 1, 2, 0), limited),
    Scope("a lease that lasts for two checks", leased(1, 2, 2, 0), limited, faults=1),
    Scope("a lease beside the last of a limit", leased(2, 1, 3, 5), used_up, faults=1),
)
SCOPES = (
    *SMALL,
    Scope("one lease gives out by itself", leased(1, 3, 2, 0), limited),
    Scope("two leases share the last of a limit", leased(2, 2, 1, 5), used_up),
    Scope("three leases near the end of a limit", leased(3, 5, 1, 0), limited),
)
"""All but the small ones are too large for every schedule of them: they are played by seed."""

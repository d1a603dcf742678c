"""Scopes of leases: what holders give out never exceeds a hard limit, whoever dies and whatever clocks do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.limits.reservations import (
    HARD,
    allowance_holds,
    limit,
    limited,
    reservations,
    used_up,
)
from tests.support.simulation.scopes.usage import counting as usage
from tests.support.simulation.scopes.usage.counting import START, consume, counted, event, law

from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable
from nilometer.flows.limits.leasing import Lease

SKEWS = (timedelta(0), timedelta(minutes=5), timedelta(minutes=-5))
"""How far the clocks of the holders are off."""


def holder(plant: Plant, name: str, checks: int, given: list[Decimal], *, clock: timedelta, quantity: int = 1) -> None:
    """A process that checks until it is refused or done, then closes its lease; after a death another one comes."""
    ids = itertools.count(1)

    def work() -> None:
        lease = _lease(plant, name, clock, ids)
        for _ in range(checks):
            if not lease.check(Decimal(quantity)):
                break
            given.append(Decimal(quantity))
        lease.close()

    plant.repeat(name, work, times=3, until=Unavailable)


def _lease(plant: Plant, name: str, clock: timedelta, ids: Iterator[int] | None = None) -> Lease:
    numbers = ids or itertools.count(1)

    def report(block_id: str, amount: Decimal, at: datetime) -> None:
        consume(plant, f"usage of {block_id}", [event(block_id, str(amount), reservation_id=block_id, time=at)])

    return Lease(
        known=plant.known(),
        workspace_id="a",
        meter="m",
        report=report,
        new_id=lambda: f"{name}-{next(numbers)}",
        now=lambda: NOW + clock,
        monotonic=plant.world.monotonic,
        refills=False,
    )


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


def kept_lease(plant: Plant, *, quantities: Sequence[int], hard: int = HARD) -> Callable[[], None]:
    """A process that lives on asks and closes again whenever it had no answer: in the end nothing is held any more."""
    given: list[int] = []
    died = [True]
    lease = _lease(plant, "holder", timedelta(0))

    def work() -> None:
        for quantity in quantities:
            given.append(quantity * _answered(partial(lease.check, Decimal(quantity))))  # noqa: PERF401  # read meanwhile
        _answered(lease.close)
        died[0] = False

    plant.world.spawn("holder", work)

    def invariant() -> None:
        out = sum(given) - counted(plant) - held(plant)
        law(out <= 0, f"{out} were given out that nobody holds")
        law(sum(given) <= hard, f"{sum(given)} were given out of {hard}")

    plant.world.invariant = invariant

    def laws() -> None:
        law(died[0] or held(plant) == 0, f"{held(plant)} are held by nobody")
        law(died[0] or counted(plant) == sum(given), f"{given} were given out and {counted(plant)} are counted")

    return laws


def _answered(ask: Callable[[], bool | None]) -> bool:
    """Asks until there is an answer."""
    for _ in range(6):
        try:
            return bool(ask())
        except Unavailable:
            continue
    return False


def roomy(plant: Plant) -> None:
    """A limit that lets blocks be larger than what is asked for."""
    usage.setup(plant)
    limit(plant, 40)


SMALL = (
    Scope("a lease of one process", leased(1, 1, 2, 0), limited),
    Scope("a lease that is kept", partial(kept_lease, quantities=(2,)), limited, faults=3),
    Scope("a lease with larger blocks", partial(kept_lease, quantities=(1, 1, 5), hard=40), roomy, faults=1),
    Scope("a lease that lasts for two checks", leased(1, 2, 2, 0), limited, faults=1),
    Scope("a lease beside the last of a limit", leased(2, 1, 3, 5), used_up, faults=1),
    Scope("two leases and the last unit of a limit", leased(2, 1, 1, 5), used_up, faults=1),
    Scope("three leases and the last unit of a limit", leased(3, 1, 1, 5), used_up, faults=0),
)
SCOPES = (
    *SMALL,
    Scope("one lease gives out by itself", leased(1, 3, 2, 0), limited),
    Scope("two leases share the last of a limit", leased(2, 2, 1, 5), used_up),
    Scope("three leases near the end of a limit", leased(3, 5, 1, 0), limited),
)
"""All but the small ones are too large for every schedule of them: they are played by seed."""

"""All outages: every service away, slow and throttled for 1, 10 and 60 minutes of played time, and a bad deployment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from tests.support.simulation.drills.company import CompanyDrill
from tests.support.simulation.drills.outages import FUNCTIONS, SERVICES, Outage, Trouble
from tests.support.simulation.drills.producers import FIRST
from tests.support.simulation.kernel.world import LawBroken

MINUTES = (1, 10, 60)
_TROUBLES = (Trouble.AWAY, Trouble.SLOW, Trouble.THROTTLED)
_BEGINS = FIRST + timedelta(minutes=24, seconds=30)


def outage(service: str, trouble: Trouble, minutes: int) -> Outage:
    """One of the matrix; half a minute later Stripe's meters are reported to, as each hour."""
    return Outage(service=service, trouble=trouble, minutes=minutes, begins=_BEGINS)


MATRIX = (
    *(outage(service, trouble, minutes) for service in SERVICES for trouble in _TROUBLES for minutes in MINUTES),
    outage(FUNCTIONS, Trouble.BROKEN, 10),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """`hits` are requests that met the outage; `healed` is how long after its end all was settled; `broken` a law."""

    outage: Outage
    hits: int = 0
    healed: timedelta = timedelta(0)
    broken: str = ""


def drilled(one: Outage) -> Drilled:
    """Plays it."""
    drill = CompanyDrill(one)
    try:
        healed = drill.run()
    except LawBroken as error:
        return Drilled(outage=one, hits=drill.state.hits, broken=str(error))
    return Drilled(outage=one, hits=drill.state.hits, healed=healed)


def lines(outages: Sequence[Outage], jobs: int) -> Iterable[str]:
    """A line an outage as it ends; the last says how many there were. A broken law has `BROKEN` in its line."""
    began = time.perf_counter()
    found = []
    with ProcessPoolExecutor(jobs) as pool:
        for one in pool.map(drilled, outages):
            found.append(one)
            what = f"{one.outage.service:22} {one.outage.trouble:9} {one.outage.minutes:3} min"
            verdict = f"BROKEN: {one.broken}" if one.broken else f"healed after {_minutes(one.healed):4} min"
            yield f"{what}  {one.hits:5} requests met it  {verdict}"
    longest = max((one.healed for one in found), default=timedelta(0))
    bad = sum(bool(one.broken) for one in found)
    seconds = time.perf_counter() - began
    yield f"{len(found)} outages in {seconds:.0f} s on {jobs} processes"
    yield f"{bad} not healed; the longest took {_minutes(longest)} min"


def _minutes(length: timedelta) -> int:
    return -(-int(length.total_seconds()) // 60)

"""Scopes of alerts: each crossing of a threshold is alerted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.limits.reservations import limited, settled, used_up
from tests.support.simulation.scopes.usage.counting import START, consume, event, law, warm

from nilometer.domain.store.writes import Table
from nilometer.errors import Unavailable
from nilometer.flows.limits import thresholds


def alerts_once(plant: Plant, *, quantity: str, expected: Sequence[str], alone: bool = False) -> Callable[[], None]:
    """Usage crosses thresholds; the reaction to its counter, and unless it is `alone` another one, look at it."""
    consume(plant, "consumer", [event("u1", quantity)], known=warm(plant))
    told = [0]

    def look() -> None:
        now = thresholds.tell(plant.known(), "a", "m", START, now=NOW)
        told[0] += now  # read after the answer: others tell meanwhile

    if not alone:
        plant.repeat("another look", look, until=Unavailable, surely=True)
    plant.world.invariant = plant.on_change(f"USAGE#m#{START}", look)

    def laws() -> None:
        items = list(plant.store.scan(Table.RECORDS, kind="alert"))
        law({item["version"] for item in items} <= {1}, "an alert was written twice")
        names = sorted(item["sk"].split("#")[3] for item in items)
        law(len(names) == len(set(names)), f"an alert was given twice: {names}")
        law(told[0] <= len(items), f"{told[0]} alerts were told, {len(items)} exist")
        law(names == list(expected), f"alerts {names}")
        settled(plant)

    return laws


def two_looks(plant: Plant) -> Callable[[], None]:
    """A threshold was crossed before; two look at it at once, and one tells it."""
    told: list[int] = []
    for number in (1, 2):
        look = lambda: told.append(thresholds.tell(plant.known(), "a", "m", START, now=NOW))  # noqa: E731  # short
        plant.repeat(f"look {number}", look, until=Unavailable, surely=True)

    def laws() -> None:
        items = list(plant.store.scan(Table.RECORDS, kind="alert"))
        law(len(items) == 2, f"{len(items)} alerts of two thresholds")
        law(sum(told) <= len(items), f"{sum(told)} alerts were told, {len(items)} exist")

    return laws


def crossed(plant: Plant) -> None:
    """Nine of ten are used, and nobody was told."""
    limited(plant)
    consume(plant, "before", [event("e1", "9")])
    plant.world.run()


SCOPES = (
    Scope("alerts of one crossing", partial(alerts_once, quantity="4", expected=("50", "80")), used_up, faults=1),
    Scope(
        "alerts of the end of a limit",
        partial(alerts_once, quantity="5", expected=("100", "50", "80", "hard")),
        used_up,
        faults=1,
    ),
    Scope(
        "alerts that one reaction sees",
        partial(alerts_once, quantity="4", expected=("50", "80"), alone=True),
        used_up,
    ),
    Scope("two look at a crossing", two_looks, crossed),
)

"""Scopes of limits: what is reserved and used never exceeds a hard limit, and an alert is given once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes import usage
from tests.support.simulation.scopes.usage import EARLY, START, consume, event, law, sums_hold, totals, warm

from nilometer import LimitRule, OverrideLimit, perform
from nilometer.domain.acts.act import service
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Unavailable
from nilometer.flows.limits import reserving, thresholds

HARD = 10
TTL = timedelta(minutes=5)
LATER = NOW + timedelta(minutes=10)

Prepare = Callable[[Plant], Callable[[], None]]


def limited(plant: Plant) -> None:
    """The meter `m` of workspace `a` has a hard limit of ten."""
    usage.setup(plant)
    limit(plant, HARD)


def used_up(plant: Plant) -> None:
    """Four are reserved as `held`, five are used."""
    limited(plant)
    reserve(plant, "held", 4)
    with_usage = [event("before", "5")]
    consume(plant, "before", with_usage)
    plant.world.run()
    thresholds.tell(plant.known(), "a", "m", START, now=NOW)


def limit(plant: Plant, amount: int, meter: str = "m") -> None:
    perform(
        plant.store,
        service("a", "op"),
        OverrideLimit(meter=meter, limit=LimitRule(included=amount, overage="block")),
        now=EARLY,
    )


def reserve(plant: Plant, name: str, quantity: int) -> Any:
    return reserving.reserve(
        plant.known(), name, workspace_id="a", meter="m", quantity=Decimal(quantity), ttl=TTL, now=NOW
    )


def asks(plant: Plant, name: str, quantity: int, granted: dict[str, bool], *, caller: str = "") -> None:
    """A client who asks until he has an answer."""

    def work() -> None:
        try:
            granted[caller or name] = reserve(plant, name, quantity).granted
        except Refused:
            granted[caller or name] = False

    plant.repeat(f"client {caller or name}", work, until=Unavailable)


def reservations(plant: Plant) -> list[Any]:
    return list(plant.store.scan(Table.RECORDS, kind="reservation"))


def allowance_holds(plant: Plant) -> None:
    """At every step: what is open never exceeds what the allowance says, and both fit below the limit."""
    items = plant.tables.items[Table.RECORDS].values()
    opened = Decimal(0)
    allowance: Any = None
    for item in items:
        kind = item.values["kind"]["S"]
        if kind == "reservation" and item.values["status"]["S"] == "open":
            opened += Decimal(item.values["quantity"]["N"])
        elif kind == "allowance":
            allowance = item.values
    reserved = Decimal(allowance["reserved"]["N"]) if allowance else Decimal(0)
    law(reserved == opened, f"the allowance has {reserved} reserved, open are {opened}")
    law(opened <= HARD, f"{opened} are reserved of {HARD}")
    sums_hold(plant)


def settled(plant: Plant) -> None:
    """In the end: nothing is open, and the allowance is what the limit leaves."""
    reserving.sweep(plant.store, now=LATER)
    thresholds.tell(plant.known(), "a", "m", START, now=LATER)
    law(not [one for one in reservations(plant) if one["status"] == "open"], "the sweeper left a reservation open")
    item = plant.store.get(Table.RECORDS, keys.allowance("a", "m", START), consistent=True)
    left = HARD - usage.counted(plant)
    law(item is None or (item["reserved"], item["remaining"]) == (0, left), f"the allowance is {item}, left are {left}")


def two_reserve_the_last(plant: Plant) -> Callable[[], None]:
    granted: dict[str, bool] = {}
    asks(plant, "r1", 7, granted)
    asks(plant, "r2", 6, granted)
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        law(sum(granted.values()) == 1, f"one of two fits below the limit: {granted}")
        settled(plant)

    return laws


def one_id_twice(plant: Plant) -> Callable[[], None]:
    granted: dict[str, bool] = {}
    asks(plant, "r1", 6, granted, caller="1")
    asks(plant, "r1", 6, granted, caller="2")
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        law(granted == {"1": True, "2": True}, f"the same id has the same answer: {granted}")
        law(len(reservations(plant)) == 1, "one id is one reservation")
        settled(plant)

    return laws


def usage_settles(plant: Plant) -> Callable[[], None]:
    """The usage of a reservation arrives twice, beside its release."""
    used = event("u1", "3", reservation_id="held")
    consume(plant, "consumer 1", [used], known=warm(plant))
    consume(plant, "consumer 2", [used], known=warm(plant))
    plant.repeat(
        "release", lambda: reserving.release(plant.known(), "held", workspace_id="a", now=NOW), until=Unavailable
    )
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        totals(plant, 8)
        settled(plant)

    return laws


def two_sweepers(plant: Plant) -> Callable[[], None]:
    """The time of a reservation is over: two sweepers and its usage meet."""
    for number in (1, 2):
        plant.repeat(f"sweeper {number}", lambda: reserving.sweep(plant.store, now=LATER), until=Unavailable)
    consume(plant, "consumer", [event("u1", "4", reservation_id="held")], known=warm(plant))
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        totals(plant, 9)
        settled(plant)

    return laws


def a_lower_limit(plant: Plant) -> Callable[[], None]:
    """The limit is lowered while others reserve and use."""
    granted: dict[str, bool] = {}
    asks(plant, "r1", 1, granted)
    plant.repeat("operator", lambda: limit(plant, 5), until=Unavailable)

    def laws() -> None:
        law("r1" in granted, "the client has no answer")
        thresholds.tell(plant.known(), "a", "m", START, now=NOW)
        item = plant.store.get(Table.RECORDS, keys.allowance("a", "m", START), consistent=True) or {}
        opened = sum(one["quantity"] for one in reservations(plant) if one["status"] == "open")
        expected = (opened, 5 - usage.counted(plant) - opened)
        law((item["reserved"], item["remaining"]) == expected, f"the allowance is {item}, true is {expected}")

    return laws


def alerts_once(plant: Plant) -> Callable[[], None]:
    """Usage crosses thresholds while two reactions look at the counter."""
    consume(plant, "consumer", [event("u1", "4")], known=warm(plant))
    told = [0]

    def look() -> None:
        told[0] += thresholds.tell(plant.known(), "a", "m", START, now=NOW)

    for number in (1, 2):
        plant.repeat(f"reaction {number}", look, until=Unavailable)

    def laws() -> None:
        look()
        items = list(plant.store.scan(Table.RECORDS, kind="alert"))
        law({item["version"] for item in items} <= {1}, "an alert was written twice")
        names = sorted(item["sk"].split("#")[3] for item in items)
        law(len(names) == len(set(names)), f"an alert was given twice: {names}")
        law(told[0] <= len(items), f"{told[0]} alerts were told, {len(items)} exist")
        law(bool(names), "no alert although thresholds are crossed")
        settled(plant)

    return laws


SCOPES = (
    Scope("two reserve the last of a limit", two_reserve_the_last, limited),
    Scope("one reservation is asked for twice", one_id_twice, limited),
    Scope("usage settles a reservation beside its release", usage_settles, used_up, faults=1),
    Scope("two sweepers and late usage", two_sweepers, used_up, faults=1),
    Scope("a limit is lowered beside a reservation", a_lower_limit, used_up),
    Scope("alerts of one crossing", alerts_once, used_up, faults=1),
)

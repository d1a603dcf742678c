"""Scopes of limits: what is reserved and used never exceeds a hard limit, and an alert is given once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.simulation.kernel.scope import NOW, Plant, Scope
from tests.support.simulation.scopes.usage import counting as usage
from tests.support.simulation.scopes.usage.counting import EARLY, START, consume, event, law, sums_hold, totals, warm

from nilometer import LimitRule, OverrideLimit, perform
from nilometer.domain.acts.act import service
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.errors import Refused, Rejected, Unavailable
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

    plant.repeat(f"client {caller or name}", work, until=Unavailable, surely=True)


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
    _asks_for_what_nothing_limits(plant)
    left = HARD - usage.counted(plant)
    law(item is None or (item["reserved"], item["remaining"]) == (0, left), f"the allowance is {item}, left are {left}")


def _asks_for_what_nothing_limits(plant: Plant) -> None:
    given: Any = {"workspace_id": "b", "quantity": Decimal(10**6), "ttl": TTL, "now": NOW}
    law(reserving.reserve(plant.known(), "free", meter="m", **given).granted, "a meter without a limit was refused")
    with contextlib.suppress(Rejected):
        reserving.reserve(plant.known(), "none", meter="none", **given)
        law(False, "a meter that does not exist was granted")


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
    release = lambda: reserving.release(plant.known(), "held", workspace_id="a", now=NOW)  # noqa: E731  # short
    plant.repeat("release", release, until=Unavailable, surely=True)
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        totals(plant, 8)
        settled(plant)

    return laws


def two_sweepers(plant: Plant) -> Callable[[], None]:
    """The time of a reservation is over: two sweepers and its usage meet."""
    for number in (1, 2):
        plant.repeat(
            f"sweeper {number}", lambda: reserving.sweep(plant.store, now=LATER), until=Unavailable, surely=True
        )
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


def given_back(plant: Plant) -> Callable[[], None]:
    """A client takes what is left, gives it back and takes it again, beside another who asks."""
    granted: dict[str, bool] = {}

    def work() -> None:
        known = plant.known()
        if not reserve(plant, "mine", 1).granted:
            return
        law(reserving.release(known, "mine", workspace_id="a", now=NOW), "what was held could not be given back")
        law(
            all(one["reservation_id"] != "mine" or one["status"] != "open" for one in reservations(plant)), "still held"
        )

    once = plant.world.spawn
    once("client", lambda: _ignoring(Unavailable, work))
    asks(plant, "other", 1, granted)
    plant.world.invariant = lambda: allowance_holds(plant)
    return lambda: settled(plant)


def _ignoring(error: type[Exception], work: Callable[[], None]) -> None:
    with contextlib.suppress(error):
        work()


def room_after_release(plant: Plant) -> Callable[[], None]:
    """Five are used and four held: they are given back, and five are asked for."""
    granted: list[bool] = []

    def work() -> None:
        reserving.release(plant.known(), "held", workspace_id="a", now=NOW)
        granted.append(reserve(plant, "five", 5).granted)

    plant.repeat("client", work, until=Unavailable, surely=True)
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        law(granted[-1:] == [True], f"there was room for five: {granted}")
        settled(plant)

    return laws


def used_and_reserved(plant: Plant) -> None:
    """At every step: where all use is reserved, what is used and held fits below the limit."""
    allowance_holds(plant)
    held = sum(one["quantity"] for one in reservations(plant) if one["status"] == "open")
    law(usage.counted(plant) + held <= HARD, f"{usage.counted(plant)} used and {held} held of {HARD}")


def a_look_beside_settling(plant: Plant) -> Callable[[], None]:
    """The allowance is brought up to date while usage settles its reservation; then others ask for the rest."""
    granted: dict[str, bool] = {}
    consume(plant, "consumer", [event("u1", "4", reservation_id="held")], known=warm(plant))
    look = lambda: thresholds.tell(plant.known(), "a", "m", START, now=NOW)  # noqa: E731  # short
    plant.repeat("reaction", look, until=Unavailable, after=lambda: asks(plant, "r2", 4, granted))
    plant.world.invariant = lambda: used_and_reserved(plant)
    return lambda: settled(plant)


def a_lower_limit_for_a_warm_process(plant: Plant) -> Callable[[], None]:
    """A process that read the limit a moment ago reacts to the change of it."""
    known = warm(plant)
    react = lambda: thresholds.tell(known, "a", None, None, now=NOW)  # noqa: E731  # short
    plant.repeat(
        "operator",
        lambda: limit(plant, 5),
        until=Unavailable,
        after=lambda: plant.repeat("reaction", react, until=Unavailable, times=9),
    )

    def laws() -> None:
        item = plant.store.get(Table.RECORDS, keys.allowance("a", "m", START), consistent=True) or {}
        law(item["remaining"] == 5 - 5 - 4, f"the allowance is {item}")

    return laws


def one_id_twice_with_room(plant: Plant) -> Callable[[], None]:
    """One id is asked for by two at once, and there would be room for both."""
    granted: dict[str, bool] = {}
    for caller in ("1", "2"):
        asks(plant, "r1", 2, granted, caller=caller)
    plant.world.invariant = lambda: allowance_holds(plant)

    def laws() -> None:
        law(granted == {"1": True, "2": True}, f"the same id has the same answer: {granted}")
        law(len(reservations(plant)) == 1, "one id is one reservation")

    return laws


def used_without_reservation(plant: Plant) -> None:
    """Four are reserved, three are used by somebody who did not reserve, and nobody has looked at it."""
    limited(plant)
    reserve(plant, "held", 4)
    consume(plant, "before", [event("before", "3")])
    plant.world.run()


def a_look_beside_reservations(plant: Plant) -> Callable[[], None]:
    """The allowance is brought up to date while others reserve: it is, without another look."""
    granted: dict[str, bool] = {}
    plant.repeat("reaction", lambda: thresholds.tell(plant.known(), "a", "m", START, now=NOW), until=Unavailable)
    asks(plant, "r1", 1, granted)

    def laws() -> None:
        item = plant.store.get(Table.RECORDS, keys.allowance("a", "m", START), consistent=True) or {}
        opened = sum(one["quantity"] for one in reservations(plant) if one["status"] == "open")
        law(item["remaining"] == HARD - 3 - opened, f"the allowance is {item}, {opened} are held and three used")

    return laws


SCOPES = (
    Scope("two reserve the last of a limit", two_reserve_the_last, limited, faults=1),
    Scope("one reservation is asked for twice", one_id_twice, limited, faults=1),
    Scope("usage settles a reservation beside its release", usage_settles, used_up, faults=1),
    Scope("two sweepers and late usage", two_sweepers, used_up, faults=1),
    Scope("a limit is lowered beside a reservation", a_lower_limit, used_up),
    Scope("what is given back can be taken again", given_back, used_up, faults=1),
    Scope("room after a release", room_after_release, used_up),
    Scope("a look beside a settlement", a_look_beside_settling, used_up, faults=1),
    Scope("a lower limit for a warm process", a_lower_limit_for_a_warm_process, used_up),
    Scope("one reservation is asked for twice, with room", one_id_twice_with_room, limited, faults=1),
    Scope("a look beside reservations", a_look_beside_reservations, used_without_reservation),
)

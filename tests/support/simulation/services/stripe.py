"""Stripe's API in memory, as the flows ask it: rate limits, lost answers, meter events that count once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.support.simulation.kernel.world import LawBroken, SimRequest, World

from nilometer.domain.usage.meter_event import MeterEvent
from nilometer.errors import Unavailable
from nilometer.local.stripe.world import StripeWorld


@dataclass(frozen=True)
class SimAnswer:
    """One object, or a page of them, as of a second."""

    second: int
    object: dict[str, Any] | None = None
    objects: tuple[dict[str, Any], ...] = ()
    part: str = ""


class SimStripe:
    """`truth` is Stripe's own state; a request is refused when too many were made."""

    def __init__(self, world: World, truth: StripeWorld) -> None:
        self.world = world
        self.truth = truth
        self.taken: dict[str, MeterEvent] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.digest = 0

    def of(self, account: str) -> SimStripe:  # no Connect accounts here
        return self

    def fetch(self, object_type: str, object_id: str) -> SimAnswer:
        def perform() -> SimAnswer:
            return SimAnswer(self._second, object=self.truth.objects.get(object_id))

        found: SimAnswer = self._ask(f"asks Stripe for {object_type} {object_id}", perform)
        return found

    def pages(self, object_type: str, after: str | None = None) -> Iterator[SimAnswer]:
        def perform() -> SimAnswer:
            wanted = (o for o in self.truth.objects.values() if o["object"] == object_type and not o.get("deleted"))
            return SimAnswer(self._second, objects=tuple(wanted))

        yield self._ask(f"lists {object_type}", perform)

    def send(self, event: MeterEvent) -> None:
        """Takes an identifier once; a copy must say the same."""

        def perform(trouble: str) -> None:
            if trouble == "refused":
                raise Unavailable("Stripe: too many requests")
            known = self.taken.setdefault(event.identifier, event)
            if known != event:
                raise LawBroken(f"{event.identifier} was sent with two contents")
            self.digest = hash(tuple(sorted(self.taken)))
            if trouble == "lost":
                raise Unavailable("Stripe's answer is lost")

        said = f"tells Stripe {event.value}"
        self.world.request(SimRequest("meter", ("refused", "dies", "lost"), lambda: said), perform, lambda _: "")

    def thin_event(self, event_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._ask(f"asks Stripe for {event_id}", lambda: self.reports.get(event_id))
        return found

    @property
    def total(self) -> Decimal:
        return sum((event.value for event in self.taken.values()), Decimal(0))

    @property
    def _second(self) -> int:
        return int(self.truth.now.timestamp())

    def _ask(self, said: str, answer: Callable[[], Any]) -> Any:
        def perform(trouble: str) -> Any:
            if trouble == "refused":
                raise Unavailable("Stripe: too many requests")
            return answer()

        return self.world.request(SimRequest("ask", ("refused",), lambda: said, ()), perform, lambda _: said)

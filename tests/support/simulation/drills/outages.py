"""One service in trouble for some minutes of played time: away, slow or throttled. And a deployment that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any

from tests.support.simulation.kernel.world import ProcessDied, SimRequest, World

from nilometer.aws.clients import longest_seconds


class Trouble(StrEnum):
    """What requests of a service meet."""

    AWAY = "away"
    SLOW = "slow"
    THROTTLED = "throttled"
    BROKEN = "broken"
    """No service but the functions: a bad deployment."""


QUEUES = ("Billing", "Usage", "Operations", "LakeUsage", "LakeStripeEvents", "LakeAudit", "Datasets", "Hooks")
SERVICES = ("bus", *(f"queue {name}" for name in QUEUES), "tables", "bucket", "secrets", "Stripe")
FUNCTIONS = "functions"
_CLIENTS = {"bus": "events", "tables": "dynamodb", "bucket": "s3", "secrets": "secretsmanager"}
_STRIPE_SECONDS = 30.0
_SHARE = {Trouble.AWAY: 1.0, Trouble.SLOW: 0.8, Trouble.THROTTLED: 0.9}
"""Of the requests that meet it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Of `service`, from `begins` for so many minutes."""

    service: str
    trouble: Trouble
    minutes: int
    begins: datetime

    @property
    def ends(self) -> datetime:
        """When the service is well again."""
        return self.begins + timedelta(minutes=self.minutes)

    def hits(self, service: str, now: datetime) -> bool:
        """Whether that service is in trouble at this moment."""
        return service == self.service and self.begins <= now < self.ends


@dataclass
class DrillState:
    """What all services of a drill share: the clock, the outage, the dice, when the function that runs must end."""

    world: World
    outage: Outage
    dice: Random
    deadline: datetime | None = None
    hits: int = 0

    def fails(self, service: str) -> bool:
        """Whether a request of this moment does not succeed."""
        if not self.outage.hits(service, self.world.now):
            return False
        if self.hits and self.dice.random() >= _SHARE[self.outage.trouble]:  # one of them meets it surely
            return False
        self.hits += 1
        return True

    def wait(self, seconds: float) -> None:
        """Played time goes on; a function whose time is over is killed."""
        self.world.now += timedelta(seconds=seconds)
        if self.deadline and self.world.now >= self.deadline:
            raise ProcessDied


class TroubledService:
    """The world of one service's client: its requests meet the outage, everything else is the common world's."""

    def __init__(self, state: DrillState, service: str) -> None:
        self._state = state
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state.world, name)

    def request(self, what: SimRequest, perform: Callable[[str], Any], _digest: Callable[[Any], Any]) -> Any:
        """A slow answer comes after the client has given up: half of such writes have landed."""
        state = self._state
        if not state.fails(self._service):
            return perform("")
        match state.outage.trouble:
            case Trouble.SLOW:
                landed = "lost" in what.troubles and state.dice.random() < 0.5
                try:
                    return perform("lost" if landed else "refused")
                finally:
                    state.wait(self._patience)
            case Trouble.THROTTLED if "part" in what.troubles and state.dice.random() < 0.5:
                return perform("part")
        state.wait(1.0)
        return perform("refused")

    @property
    def _patience(self) -> float:
        if self._service == "Stripe":
            return _STRIPE_SECONDS
        return longest_seconds(_CLIENTS.get(self._service, "sqs"))

"""The stack that a console shows, and all that it can ask of it. Built by whoever serves the console."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from starlette.requests import Request

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.flows.publish.usage import Event
from nilometer.flows.recovery.dead_letters import LetterBox, Reasons
from nilometer.flows.recovery.refused import Lane
from nilometer.lake.read.ledger import Ledger


class LineFeed(Protocol):
    """The log lines of the stack's functions."""

    def poll(self) -> Iterable[str]:
        """Those that came since the last call; at the first call the newest that are kept. May be slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFound:
    """What a check of the stack found: `verdict` is ok, warn, fail or not checked."""

    check: str
    verdict: str
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """One schedule of the stack: which function it invokes, when, and when it last and next does, where known."""

    name: str
    expression: str
    function: str
    last: datetime | None = None
    next: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Reads are safe to share between threads. What is None cannot be done with this stack.

    `status` gives queues, dead letters, stream lag and idleness as `nilometer status --json` does. `trigger` posts a
    sample event of a type, maybe for a workspace, and gives the event. `again` sends a usage event of the lake once
    more. `bill` gives the bill of a month for so many webhooks and usage events, such as `300/day`
    each, as `nilometer cost --json` does, and the `parameters` that it was given; it takes half a minute.
    """

    name: str
    where: str
    store: Store
    objects: Objects
    ledger: Ledger
    lake: Mapping[str, Any]
    feed: LineFeed
    status: Callable[[], Mapping[str, Any]]
    boxes: Callable[[], Sequence[LetterBox]]
    reasons: Reasons
    lane: Callable[[], Lane]
    datasets: Callable[[], Sequence[str]]
    timers: Callable[[], Sequence[Timer]]
    again: Callable[[Event], object]
    checks: Callable[[], Iterable[CheckFound]] | None = None
    trigger: Callable[[str, str | None], Mapping[str, Any]] | None = None
    event_types: Sequence[str] = ()
    bill: Callable[[str, str], Mapping[str, Any]] | None = None
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


def place_of(request: Request) -> Place:
    """The one that the application serves."""
    found: Place = request.app.state.place
    return found

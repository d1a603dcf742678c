"""Usage events between `record` and the API: kept with their ids until each is answered.

record ──▶ waiting ──▶ on the way ──▶ accepted, duplicate: gone
              ▲             ├───────▶ rejected: told at once, and at the next flush
              └─────────────┘ no answer: the same events again, which count once
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from nilometer.client.problem import EventsRejected, ProblemRejected, RejectedUsage
from nilometer.domain.store.times import rfc3339
from nilometer.domain.usage.event import workspace_source
from nilometer.domain.usage.meter import SLUG
from nilometer.flows.api.shapes import EventAnswer
from nilometer.flows.limits.forked import of_one_process

BATCH = 500  # events a request; the API takes 1,000
CAPACITY = 10_000  # events that wait before `record` does
LONGEST = 40  # digits before or after the point: 1e999999999 would be a gigabyte of them
TOLD = 1000  # rejected events that are kept until a flush names them
UnitEvent = dict[str, Any]
OnRejected = Callable[[Sequence[RejectedUsage]], object]
"""Is told what was rejected as soon as it is known, by the thread or task that sends."""
_log = logging.getLogger("nilometer")


class UsageBuffer:
    """Thread-safe. An event is in it from `add` until it is answered."""

    def __init__(self, capacity: int = CAPACITY, on_rejected: OnRejected | None = None) -> None:
        self.capacity = capacity
        self._on_rejected = on_rejected
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child: its parent sends what it recorded."""
        self.rejected = self._untold = self._on_the_way = 0
        self._waiting: deque[UnitEvent] = deque()
        self._rejected: list[RejectedUsage] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many are not answered yet."""
        return len(self._waiting) + self._on_the_way

    def add(self, event: UnitEvent) -> bool:
        """False when it is full, and the event is not in it."""
        with self._changed:
            if len(self) >= self.capacity:
                return False
            self._waiting.append(event)
            return True

    def await_room(self, seconds: float) -> bool:
        """Whether there is room before the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self) < self.capacity, seconds)

    def take(self) -> list[UnitEvent]:
        """The oldest that wait; each is either `answered` or `kept` afterwards."""
        with self._changed:
            taken = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._on_the_way += len(taken)
            return taken

    def kept(self, taken: Sequence[UnitEvent]) -> None:
        """Nobody answered: they come first again."""
        with self._changed:
            self._on_the_way -= len(taken)
            self._waiting.extendleft(reversed(taken))

    def answered(self, taken: Sequence[UnitEvent], answers: Sequence[EventAnswer]) -> None:
        """One answer an event, in order. What is rejected stands in the log, by its reasons alone."""
        rejected = [
            RejectedUsage(event["id"], answer.reason or "unknown", (answer.message or "")[:300])
            for event, answer in zip(taken, answers, strict=True)
            if answer.status == "rejected"
        ]
        with self._changed:
            self._on_the_way -= len(taken)
            self.rejected += len(rejected)
            self._untold += len(rejected)
            self._rejected += rejected[: TOLD - len(self._rejected)]
            self._changed.notify_all()
        if rejected:
            self._tell_at_once(rejected)

    def tell(self) -> None:
        """`EventsRejected` when some were since the last time."""
        with self._changed:
            told, self._rejected = self._rejected, []
            total, self._untold = self._untold, 0
        if told:
            raise EventsRejected(told, total)

    def _tell_at_once(self, rejected: Sequence[RejectedUsage]) -> None:
        reasons = ", ".join(f"{number} {reason}" for reason, number in Counter(one.reason for one in rejected).items())
        _log.warning("%d usage events are rejected: %s", len(rejected), reasons)
        if self._on_rejected:
            try:
                self._on_rejected(rejected)
            except Exception as error:  # noqa: BLE001  # whatever it is: what was sent is sent, and the rest goes on
                _log.warning("on_rejected failed: %s", type(error).__name__)


def new_id() -> str:
    """128 bits of chance."""
    return os.urandom(16).hex()


def amount(quantity: str | int | Decimal) -> str:
    """As the API takes it: exact, never a float. `ProblemRejected` with `quantity_invalid`."""
    try:
        number = Decimal(quantity) if not isinstance(quantity, float) else None
    except (InvalidOperation, TypeError, ValueError):
        number = None
    if number is None or not number.is_finite() or number < 0 or abs(number.adjusted()) > LONGEST:
        raise ProblemRejected(400, "quantity_invalid", "a quantity is a decimal that is not negative, and no float")
    return format(number, "f")


def usage_event(
    workspace_id: str,
    meter: str,
    quantity: str | int | Decimal,
    *,
    event_id: str | None,
    source: str | None,
    time: datetime | None,
    dimensions: Mapping[str, str] | None,
) -> UnitEvent:
    """A CloudEvent whose unit is not filled in yet. `ProblemRejected` for what no request can carry: it would hold up
    the events behind it."""
    if not isinstance(meter, str) or not SLUG.fullmatch(meter):
        raise ProblemRejected(400, "unknown_meter", f"{str(meter)[:80]!a} is no meter's slug")
    if time is not None and time.tzinfo is None:
        raise ProblemRejected(400, "invalid_schema", "the time has no offset; hand in an aware datetime")
    data = {"meter": meter, "quantity": amount(quantity), **({"dimensions": dict(dimensions)} if dimensions else {})}
    event = {
        "specversion": "1.0",
        "id": event_id or new_id(),
        "source": source or workspace_source(workspace_id),
        "type": "usage.recorded.v1",
        "subject": workspace_id,
        "time": rfc3339(time or datetime.now(UTC)),
        "data": data,
    }
    try:
        msgspec.json.encode(event, enc_hook=str)
    except (ValueError, TypeError, RecursionError) as error:  # an unpaired surrogate is a ValueError
        raise ProblemRejected(400, "invalid_schema", "the event cannot be written as JSON in UTF-8") from error
    return event

"""Usage: recorded into a buffer, sent in the background, each event counted once.

What if the process dies? What waited in the buffer is lost: `flush` what must not be. What if an answer is lost? The
same events are sent again, with their ids. What if the API is away? They wait, and when the buffer is full `record`
waits too.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from nilometer.client.buffer import BATCH, CAPACITY, OnRejected, UnitEvent, UsageBuffer, usage_event
from nilometer.client.problem import ProblemRejected, ProblemUnavailable
from nilometer.client.request import ClientRequest, at
from nilometer.client.sending import Sender
from nilometer.errors import Rejected
from nilometer.flows.api.shapes import ApiPage, EventAnswer, EventsAnswer, MeterAnswer, UsageAnswer
from nilometer.flows.limits.forked import of_one_process

FLUSH_SECONDS = 1.0
PATIENCE = 30.0  # seconds that `record` waits for room
_log = logging.getLogger("nilometer")


class Repeating:
    """A daemon thread that calls `run` every so many seconds, or when it is woken. Harmless to start twice."""

    def __init__(self, run: Callable[[], Any], seconds: float) -> None:
        self._run, self._seconds = run, seconds
        self._stopped = False
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child, where the thread is not; it is started when it is needed."""
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Unless it is stopped."""
        if not self._stopped and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._loop, name="nilometer", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Now rather than later."""
        self._wake.set()

    def stop(self) -> None:
        """Returns when it has ended, or after some seconds."""
        self._stopped = True
        self._wake.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(10)

    def _loop(self) -> None:
        while not self._stopped:
            self._wake.wait(self._seconds)
            self._wake.clear()
            self._run()


class UsageService:
    """Thread-safe. What is recorded is sent within a second, at `flush`, at `close`, and at the end of the process."""

    def __init__(
        self,
        send: Sender,
        *,
        source: str | None,
        flush_seconds: float = FLUSH_SECONDS,
        capacity: int | None = None,
        on_rejected: OnRejected | None = None,
        buffer: UsageBuffer | None = None,
    ) -> None:
        self._send, self._source = send, source
        self._buffer = buffer or UsageBuffer(capacity or CAPACITY, on_rejected)
        self._units: dict[str, str] = {}
        self._repeating = Repeating(self._flush_quietly, flush_seconds)
        self._registered = False
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child: a thread of the parent may be sending."""
        self._flushing = threading.Lock()

    def record(
        self,
        workspace_id: str,
        meter: str,
        quantity: str | int | Decimal = 1,
        *,
        id: str | None = None,  # noqa: A002  # as the event's
        time: datetime | None = None,
        dimensions: Mapping[str, str] | None = None,
        source: str | None = None,
    ) -> str:
        """The event's id, made when none is given; with the source it is the fact's identity for ever, and counts once.
        `Unavailable` when the buffer stays full: it is not recorded."""
        event = usage_event(
            workspace_id,
            meter,
            quantity,
            event_id=id,
            source=source or self._source,
            time=time,
            dimensions=dimensions,
        )
        while not self._buffer.add(event):
            self._repeating.wake()
            if not self._buffer.await_room(PATIENCE):
                raise buffer_full(self._buffer)
        self._start()
        return str(event["id"])

    @property
    def rejected(self) -> int:
        """How many events the API rejected since the client was made."""
        return self._buffer.rejected

    def flush(self) -> None:
        """Returns when all that was recorded before is durably queued.

        `EventsRejected` names those that can never be counted; `Unavailable`: what was not sent is kept.
        """
        self._flush()
        self._buffer.tell()

    def get(self, workspace_id: str) -> list[UsageAnswer]:
        """Every meter that was used in the billing period of now, or has a limit."""
        return self._send(used(workspace_id)).items

    def close(self) -> None:
        """Flushes, and sends nothing afterwards by itself."""
        self._repeating.stop()
        atexit.unregister(self.at_exit)
        self.flush()

    def _start(self) -> None:
        self._repeating.start()
        if not self._registered:
            self._registered = True
            atexit.register(self.at_exit)
        if len(self._buffer) >= BATCH:
            self._repeating.wake()

    def at_exit(self) -> None:
        """Sends what is left; the log says how many it could not send."""
        self._repeating.stop()
        self._flush_quietly()
        if left := len(self._buffer):
            _log.error("%d usage events were not sent before the end of the process", left)

    def _flush_quietly(self) -> None:
        try:
            self._flush()
        except Exception as error:  # noqa: BLE001  # whatever it is: the next round tries again, a flush says it
            _log.warning("usage events wait: %s", type(error).__name__)

    def _flush(self) -> None:
        with self._flushing:
            while taken := self._buffer.take():
                try:
                    answers = self._answers(taken)
                except BaseException:
                    self._buffer.kept(taken)
                    raise
                self._buffer.answered(taken, answers)

    def _answers(self, taken: Sequence[UnitEvent]) -> list[EventAnswer]:
        for meter in unknown_units(taken, self._units):
            self._units[meter] = self._unit(meter)
        ready = with_units(taken, self._units)
        return in_order(taken, self._units, self._posted(ready) if ready else [])

    def _posted(self, events: Sequence[UnitEvent]) -> list[EventAnswer]:
        try:
            return self._send(posted(events)).events
        except Rejected as error:
            check_answered(error)
            if len(events) == 1:
                return [EventAnswer("rejected", events[0]["id"], error.reason, str(error))]
        half = len(events) // 2
        return self._posted(events[:half]) + self._posted(events[half:])

    def _unit(self, meter: str) -> str:
        try:
            return self._send(meter_named(meter)).unit
        except ProblemRejected as error:
            if error.reason != "unknown_meter":
                check_answered(error)
                raise
            return ""


def used(workspace_id: str) -> ClientRequest[ApiPage[UsageAnswer]]:
    """What was used in this period, by meter."""
    return ClientRequest(method="GET", path=at("/v1/workspaces/{}/usage", workspace_id), answer=ApiPage[UsageAnswer])


def posted(events: Sequence[UnitEvent]) -> ClientRequest[EventsAnswer]:
    """Events to be recorded; safe, because each has its id."""
    return ClientRequest(method="POST", path="/v1/events", body=events, answer=EventsAnswer)


def meter_named(meter: str) -> ClientRequest[MeterAnswer]:
    """What a meter counts."""
    return ClientRequest(method="GET", path=at("/v1/meters/{}", meter), answer=MeterAnswer)


def unknown_units(events: Sequence[UnitEvent], units: Mapping[str, str]) -> list[str]:
    """Meters whose unit nobody has asked for, or that did not exist when somebody did."""
    return [meter for meter in dict.fromkeys(str(one["data"]["meter"]) for one in events) if not units.get(meter)]


def with_units(events: Sequence[UnitEvent], units: Mapping[str, str]) -> list[UnitEvent]:
    """Those of a known meter, each with its unit."""
    return [
        {**one, "data": {**one["data"], "unit": unit}} for one in events if (unit := units.get(one["data"]["meter"]))
    ]


def in_order(
    events: Sequence[UnitEvent], units: Mapping[str, str], answers: Sequence[EventAnswer]
) -> list[EventAnswer]:
    """An answer to each: what was said to those of known meters, and `unknown_meter`."""
    known = [bool(units.get(one["data"]["meter"])) for one in events]
    if sum(known) != len(answers):
        raise ProblemUnavailable(200, "unreadable", f"{len(answers)} answers to {sum(known)} events")
    told = iter(answers)
    return [
        next(told) if sent else EventAnswer("rejected", one["id"], "unknown_meter", "there is no such meter")
        for one, sent in zip(events, known, strict=True)
    ]


def check_answered(error: Rejected) -> None:
    """`ProblemUnavailable` for a 404: the API gives none to events, so it says that the API is not there, as while a
    gateway is being deployed, and nothing of what was sent."""
    if isinstance(error, ProblemRejected) and error.status == 404:
        raise ProblemUnavailable(404, error.reason, f"the API is not at this URL now ({error})") from error


def buffer_full(buffer: UsageBuffer) -> ProblemUnavailable:
    """Nothing was sent for a while."""
    return ProblemUnavailable(
        0, "buffer_full", f"{buffer.capacity} usage events wait to be sent; this one is not recorded"
    )

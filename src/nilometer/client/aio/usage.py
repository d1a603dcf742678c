"""`client.usage` on an event loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from nilometer.client.aio.sending import AsyncSender
from nilometer.client.buffer import BATCH, CAPACITY, OnRejected, UnitEvent, UsageBuffer, usage_event
from nilometer.client.problem import ProblemRejected
from nilometer.client.sending import Sender
from nilometer.client.usage import (
    FLUSH_SECONDS,
    PATIENCE,
    UsageService,
    buffer_full,
    check_answered,
    in_order,
    meter_named,
    posted,
    unknown_units,
    used,
    with_units,
)
from nilometer.errors import Rejected
from nilometer.flows.api.shapes import EventAnswer, UsageAnswer
from nilometer.flows.limits.forked import of_one_process

_PARTS = 20  # looks for room in the time that `record` waits
_log = logging.getLogger("nilometer")


class AsyncUsageService:
    """As `UsageService`, for the tasks of one loop. What was not sent when the process ends is sent past the loop."""

    def __init__(
        self,
        send: AsyncSender,
        at_exit: Sender,
        *,
        source: str | None,
        flush_seconds: float = FLUSH_SECONDS,
        capacity: int | None = None,
        on_rejected: OnRejected | None = None,
    ) -> None:
        self._send, self._source = send, source
        self._seconds = flush_seconds
        self._buffer = UsageBuffer(capacity or CAPACITY, on_rejected)
        self._units: dict[str, str] = {}
        self._last = UsageService(at_exit, source=source, buffer=self._buffer)
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child: its loop is another one."""
        self._flushing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def record(
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
        """The event's id, made when none is given. Waits while the buffer is full; `Unavailable` when it stays so."""
        event = usage_event(
            workspace_id,
            meter,
            quantity,
            event_id=id,
            source=source or self._source,
            time=time,
            dimensions=dimensions,
        )
        for _ in range(_PARTS + 1):
            if self._buffer.add(event):
                self._start()
                return str(event["id"])
            self._wake.set()
            await asyncio.sleep(PATIENCE / _PARTS)
        raise buffer_full(self._buffer)

    @property
    def rejected(self) -> int:
        """How many events the API rejected since the client was made."""
        return self._buffer.rejected

    async def flush(self) -> None:
        """Returns when all that was recorded before is durably queued. Errors as those of `UsageService.flush`."""
        await self._flush()
        self._buffer.tell()

    async def get(self, workspace_id: str) -> list[UsageAnswer]:
        """Every meter that was used in the billing period of now, or has a limit."""
        return (await self._send(used(workspace_id))).items

    async def close(self) -> None:
        """Flushes, and sends nothing afterwards by itself."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        atexit.unregister(self._last.at_exit)
        await self.flush()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            atexit.register(self._last.at_exit)
            self._task = asyncio.create_task(self._loop())
        if len(self._buffer) >= BATCH:
            self._wake.set()

    async def _loop(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._seconds)
            self._wake.clear()
            try:
                await self._flush()
            except Exception as error:  # noqa: BLE001  # whatever it is: the next round tries again, a flush says it
                _log.warning("usage events wait: %s", type(error).__name__)

    async def _flush(self) -> None:
        async with self._flushing:
            while taken := self._buffer.take():
                try:
                    answers = await self._answers(taken)
                except BaseException:
                    self._buffer.kept(taken)
                    raise
                self._buffer.answered(taken, answers)

    async def _answers(self, taken: Sequence[UnitEvent]) -> list[EventAnswer]:
        for meter in unknown_units(taken, self._units):
            self._units[meter] = await self._unit(meter)
        ready = with_units(taken, self._units)
        return in_order(taken, self._units, await self._posted(ready) if ready else [])

    async def _posted(self, events: Sequence[UnitEvent]) -> list[EventAnswer]:
        try:
            return (await self._send(posted(events))).events
        except Rejected as error:
            check_answered(error)
            if len(events) == 1:
                return [EventAnswer("rejected", events[0]["id"], error.reason, str(error))]
        half = len(events) // 2
        return await self._posted(events[:half]) + await self._posted(events[half:])

    async def _unit(self, meter: str) -> str:
        try:
            return (await self._send(meter_named(meter))).unit
        except ProblemRejected as error:
            if error.reason != "unknown_meter":
                check_answered(error)
                raise
            return ""

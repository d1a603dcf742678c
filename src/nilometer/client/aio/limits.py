"""`client.limits` on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from decimal import Decimal
from typing import Any, Self

from nilometer.client.aio.sending import AsyncSender
from nilometer.client.aio.usage import AsyncUsageService
from nilometer.client.lease import ClientLease
from nilometer.client.limits import LimitsService, Quantity, ReservedQuantity, check_of, limits_of, reserved
from nilometer.client.problem import LimitReached
from nilometer.client.sending import Sender
from nilometer.client.usage import UsageService
from nilometer.flows.api.shapes import CheckAnswer, LimitsAnswer, ReserveAnswer


class AsyncLease:
    """A `ClientLease` for tasks: what is held is given out at once, a request runs in a thread."""

    def __init__(self, lease: ClientLease) -> None:
        self._lease = lease

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check(self, quantity: Decimal = Decimal(1)) -> bool:
        """Whether `quantity` may be used; True takes it. What is cancelled takes nothing; after `close` it is False."""
        while not self._lease.check_held(quantity):
            if quantity <= 0 or not await asyncio.to_thread(self._lease.fetch, quantity):
                return quantity == 0
        return True

    async def close(self) -> None:
        """Reports what was given out and gives the rest back."""
        await asyncio.to_thread(self._lease.close)


class AsyncChecking:
    """A check that is awaited, or entered with `async with`."""

    def __init__(
        self, send: AsyncSender, usage: AsyncUsageService, workspace_id: str, meter: str, quantity: Quantity
    ) -> None:
        self._send, self._usage, self._asked = send, usage, (workspace_id, meter, quantity)

    def __await__(self) -> Generator[Any, None, CheckAnswer]:
        return self._answer().__await__()

    async def __aenter__(self) -> CheckAnswer:
        answer = await self._answer()
        if not answer.allowed:
            raise LimitReached(*self._asked[:2])
        return answer

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._usage.record(*self._asked)

    async def _answer(self) -> CheckAnswer:
        return await self._send(check_of(*self._asked))


class AsyncReservation:
    """A reservation, held from `async with` on; else as `HeldReservation`."""

    def __init__(self, send: AsyncSender, reserved: ReservedQuantity) -> None:
        self._send, self._reserved = send, reserved
        self.used: Quantity | None = None

    @property
    def id(self) -> str:
        """The same id is the same reservation."""
        return self._reserved.id

    async def __aenter__(self) -> Self:
        self._reserved.check_granted(await self.open())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.settle(self.used)
        else:
            await self.release()

    async def open(self) -> ReserveAnswer:
        """Whether it is held; without a context manager settle or release it."""
        return await self._send(self._reserved.reserve())

    async def settle(self, quantity: Quantity | None = None) -> None:
        """Reports how much of it was used, all when nothing is said; what is left of it comes back."""
        await self._send(self._reserved.settle(quantity))

    async def release(self) -> bool:
        """Gives all of it back; False when it had ended."""
        return (await self._send(self._reserved.release())).released


class AsyncLimitsService:
    """Limits of workspaces, on an event loop."""

    def __init__(self, send: AsyncSender, in_threads: Sender, usage: AsyncUsageService) -> None:
        self._send, self._usage = send, usage
        self._leasing = LimitsService(in_threads, UsageService(in_threads, source=None))

    def check(self, workspace_id: str, meter: str, quantity: Quantity = 1) -> AsyncChecking:
        """Whether so much more may be used: `await` it, or enter it."""
        return AsyncChecking(self._send, self._usage, workspace_id, meter, quantity)

    def reserve(
        self,
        workspace_id: str,
        meter: str,
        quantity: Quantity,
        *,
        id: str | None = None,  # noqa: A002  # as the reservation's
        seconds: int = 300,
    ) -> AsyncReservation:
        """Held once it is entered or opened, for `seconds` at most."""
        return AsyncReservation(self._send, reserved(workspace_id, meter, quantity, id, seconds))

    def lease(self, workspace_id: str, meter: str) -> AsyncLease:
        """Answers in the process."""
        return AsyncLease(self._leasing.lease(workspace_id, meter))

    async def list(self, workspace_id: str) -> LimitsAnswer:
        """Limits in effect, and the workspace's own."""
        return await self._send(limits_of(workspace_id))

    def close(self) -> None:
        """Closes every lease, as `LimitsService.close`; in a thread, because it asks."""
        self._leasing.close()

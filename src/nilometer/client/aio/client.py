"""The client on an event loop.

from nilometer import AsyncClient

async with AsyncClient() as client:
    if (await client.limits.check("acme", "api_calls")).allowed:
        await client.usage.record("acme", "api_calls")
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from nilometer.client.aio import services
from nilometer.client.aio.limits import AsyncLimitsService
from nilometer.client.aio.sending import AsyncSender
from nilometer.client.aio.usage import AsyncUsageService
from nilometer.client.buffer import OnRejected
from nilometer.client.client import TIMEOUT
from nilometer.client.place import place
from nilometer.client.sending import Sender
from nilometer.client.usage import FLUSH_SECONDS


class AsyncClient(services.AsyncActionsService):
    """One an event loop; its arguments are those of `Client`."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        source: str | None = None,
        timeout: float = TIMEOUT,
        flush_seconds: float = FLUSH_SECONDS,
        capacity: int | None = None,
        on_rejected: OnRejected | None = None,
        transport: Any = None,
    ) -> None:
        where = place(url, key)
        send = AsyncSender(where, timeout=timeout, transport=transport)
        self._threads = Sender(where, timeout=timeout, transport=transport)
        super().__init__(send)
        self.usage = AsyncUsageService(
            send, self._threads, source=source, flush_seconds=flush_seconds, capacity=capacity, on_rejected=on_rejected
        )
        self.limits = AsyncLimitsService(send, self._threads, self.usage)
        self.billing = services.AsyncBillingService(send)
        self.flags = services.AsyncFlagsService(send)
        self.workspaces = services.AsyncWorkspacesService(send)
        self.members = services.AsyncMembersService(send)
        self.notifications = services.AsyncNotificationsService(send)
        self.webhooks = services.AsyncWebhooksService(send)
        self.datasets = services.AsyncDatasetsService(send)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes leases, sends what was recorded, lets go of the connections. Errors as those of `usage.flush`."""
        try:
            await asyncio.to_thread(self.limits.close)
        finally:
            try:
                await self.usage.close()
            finally:
                await self._send.close()
                self._threads.close()

"""The client itself.

from nilometer import Client

with Client() as client:
    if client.limits.check("acme", "api_calls"):
        client.usage.record("acme", "api_calls")
"""

from __future__ import annotations

from typing import Any, Self

from nilometer.client import services
from nilometer.client.buffer import OnRejected
from nilometer.client.limits import LimitsService
from nilometer.client.place import place
from nilometer.client.sending import Sender
from nilometer.client.usage import FLUSH_SECONDS, UsageService

TIMEOUT = 10.0


class Client(services.ActionsService):
    """One a process, shared by its threads. Of `url` and `key`; else of NILOMETER_URL and NILOMETER_KEY; else of the
    newest stack that runs on this machine, which needs no key.

    `source` is that of usage events, else it is their workspace's: a key of a workspace has no choice. `capacity` is
    how many events wait before `record` does. `on_rejected` is called with the events that the API rejected
    (`id`, `reason`, `message`), as soon as it has. `transport` answers in the place of the network.
    """

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
        send = Sender(place(url, key), timeout=timeout, transport=transport)
        super().__init__(send)
        self.usage = UsageService(
            send, source=source, flush_seconds=flush_seconds, capacity=capacity, on_rejected=on_rejected
        )
        self.limits = LimitsService(send, self.usage)
        self.billing = services.BillingService(send)
        self.flags = services.FlagsService(send)
        self.workspaces = services.WorkspacesService(send)
        self.members = services.MembersService(send)
        self.notifications = services.NotificationsService(send)
        self.webhooks = services.WebhooksService(send)
        self.datasets = services.DatasetsService(send)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes leases, sends what was recorded, lets go of the connections. Errors as those of `usage.flush`."""
        try:
            self.limits.close()
        finally:
            try:
                self.usage.close()
            finally:
                self._send.close()

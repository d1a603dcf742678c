"""`client.sending` on an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from nilometer.client.place import Place
from nilometer.client.request import ClientRequest, answer_of, no_answer, pause
from nilometer.client.sending import CONNECTIONS, JSON, certificates, local_key
from nilometer.errors import NilometerError
from nilometer.flows.limits.forked import of_one_process

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


class AsyncSender:
    """For the tasks of one loop. `transport` answers in the place of the network."""

    def __init__(self, where: Place, *, timeout: float, transport: Any = None) -> None:
        self.url, self._key, self._giver = where
        self._timeout, self._transport = timeout, transport
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child, as `Sender`; its loop is another one."""
        self._opening = asyncio.Lock()
        self._http: httpx2.AsyncClient | None = None

    async def __call__(self, request: ClientRequest[T]) -> T:
        """The answer. `Unavailable` once the last attempt failed."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(request)
            except NilometerError as error:
                seconds = pause(request, error, attempt)
                if seconds is None:
                    raise
                await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Lets go of the connections; the next request opens them anew."""
        if self._http:
            await self._http.aclose()
            self._http = None

    async def _once(self, request: ClientRequest[T]) -> T:
        import httpx2  # noqa: PLC0415  # a process that sends nothing does not pay for it

        try:
            http = await self._client()
            answered = await http.request(
                request.method,
                request.path,
                content=request.content,
                params=dict(request.query) or None,
                headers={**JSON, **request.headers},
            )
        except httpx2.TransportError as error:
            raise no_answer(type(error).__name__) from error
        return answer_of(request, answered.status_code, answered.content)

    async def _client(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._http is None:
                self._http = await self._made()
            return self._http

    async def _made(self) -> httpx2.AsyncClient:
        import httpx2  # noqa: PLC0415  # as above

        limits = httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=60)
        made = httpx2.AsyncClient(
            base_url=self.url,
            timeout=self._timeout,
            limits=limits,
            transport=self._transport,
            verify=certificates(self.url),
        )
        if not self._key:
            path, secret = self._giver
            self._key = local_key(await made.post(path, headers={"authorization": f"Bearer {secret}"}))
        made.headers["authorization"] = f"Bearer {self._key}"
        return made

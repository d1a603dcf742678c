"""Requests over HTTP, with one connection pool a client. httpx2 is loaded with the first request."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from nilometer.client.place import Place
from nilometer.client.request import ClientRequest, answer_of, no_answer, pause
from nilometer.errors import Misconfigured, NilometerError
from nilometer.flows.limits.forked import of_one_process

if TYPE_CHECKING:
    import ssl

    import httpx2

T = TypeVar("T")
CONNECTIONS = 20
JSON = {"content-type": "application/json"}


class Sender:
    """Thread-safe. `transport` answers in the place of the network."""

    def __init__(self, where: Place, *, timeout: float, transport: Any = None) -> None:
        self.url, self._key, self._giver = where
        self._timeout, self._transport = timeout, transport
        self.start_empty()
        of_one_process(self)

    def start_empty(self) -> None:
        """Also in a child: the connections are the parent's, and are not closed."""
        self._lock = threading.Lock()
        self._http: httpx2.Client | None = None

    def __call__(self, request: ClientRequest[T]) -> T:
        """The answer. `Unavailable` once the last attempt failed."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(request)
            except NilometerError as error:
                seconds = pause(request, error, attempt)
                if seconds is None:
                    raise
                time.sleep(seconds)

    def close(self) -> None:
        """Lets go of the connections; the next request opens them anew."""
        with self._lock:
            if self._http:
                self._http.close()
                self._http = None

    def _once(self, request: ClientRequest[T]) -> T:
        import httpx2  # noqa: PLC0415  # a process that sends nothing does not pay for it

        try:
            answered = self._client().request(
                request.method,
                request.path,
                content=request.content,
                params=dict(request.query) or None,
                headers={**JSON, **request.headers},
            )
        except httpx2.TransportError as error:
            raise no_answer(type(error).__name__) from error
        return answer_of(request, answered.status_code, answered.content)

    def _client(self) -> httpx2.Client:
        with self._lock:
            if self._http is None:
                self._http = self._made()
            return self._http

    def _made(self) -> httpx2.Client:
        import httpx2  # noqa: PLC0415  # as above

        limits = httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=60)
        made = httpx2.Client(
            base_url=self.url,
            timeout=self._timeout,
            limits=limits,
            transport=self._transport,
            verify=certificates(self.url),
        )
        if not self._key:
            path, secret = self._giver
            self._key = local_key(made.post(path, headers={"authorization": f"Bearer {secret}"}))
        made.headers["authorization"] = f"Bearer {self._key}"
        return made


def certificates(url: str) -> ssl.SSLContext | bool:
    """Whom a client trusts: as usual. Those are not read for a URL without TLS, which takes longer than a request;
    there it trusts nobody."""
    import ssl  # noqa: PLC0415  # loaded with httpx2

    return True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def local_key(answered: Any) -> str:
    """The service key that a local stack gave."""
    if answered.status_code != 200:
        raise Misconfigured("the local stack gives no key; set NILOMETER_KEY, or start it with this version")
    return str(answered.json()["key"])

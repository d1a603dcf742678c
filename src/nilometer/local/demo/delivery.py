"""Stripe's side of the webhook: signed posts over a few kept connections, delivered again on 5xx."""

from __future__ import annotations

import http.client
import random
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import msgspec

from nilometer.domain.stripe.signature import sign

CONNECTIONS = 8
ATTEMPTS = 5
SILENCE_SECONDS = 90  # a function of a local stack has a minute to start
_UNREACHABLE = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """The result of one post: the last status (0: no answer) and the endpoint's own message."""

    number: int
    status: int
    reason: str = ""
    attempts: int = 1

    @property
    def taken(self) -> bool:
        """Whether the last answer was a 2xx: Stripe delivers again what got another one."""
        return 200 <= self.status < 300


class WebhookClient:
    """A webhook URL and the secret that signs for it. Safe to share between threads: each has its own connection."""

    def __init__(self, url: str, *, secret: str) -> None:
        self._url = urllib.parse.urlsplit(url)
        self._secret = secret
        self._local = threading.local()

    def deliver(self, number: int, body: bytes, *, attempts: int = ATTEMPTS) -> WebhookDelivery:
        """Posts until the endpoint takes or refuses it; like Stripe, again after 5xx, 429 and silence."""
        for attempt in range(1, attempts + 1):
            delivery = self._attempt(number, body, attempt)
            if delivery.taken or (400 <= delivery.status < 500 and delivery.status != 429):
                break
            if attempt < attempts:
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
        return delivery

    def deliver_all(
        self, bodies: Iterable[tuple[int, bytes]], *, connections: int = CONNECTIONS
    ) -> Iterator[WebhookDelivery]:
        """Concurrently, in no order; takes from `bodies` only as fast as the endpoint answers."""
        with ThreadPoolExecutor(connections) as pool:
            pending: set[Future[WebhookDelivery]] = set()
            try:
                for number, body in bodies:
                    pending.add(pool.submit(self.deliver, number, body))
                    if len(pending) >= 2 * connections:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in done)
                yield from (future.result() for future in wait(pending).done)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def post(self, body: bytes, signature: str) -> tuple[int, bytes]:
        """One request as it is, for those who sign wrongly on purpose. `OSError` when nobody answers."""
        connection = self._connection()
        headers = {"content-type": "application/json; charset=utf-8", "stripe-signature": signature}
        try:
            connection.request("POST", self._url.path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except _UNREACHABLE:
            self._forget()
            raise

    def _attempt(self, number: int, body: bytes, attempt: int) -> WebhookDelivery:
        try:
            status, answer = self.post(body, sign(body, secret=self._secret, timestamp=int(time.time())))
        except _UNREACHABLE as error:
            return WebhookDelivery(number=number, status=0, reason=str(error) or type(error).__name__, attempts=attempt)
        return WebhookDelivery(number=number, status=status, reason=_reason(status, answer), attempts=attempt)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            https = self._url.scheme == "https"
            kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
            connection = self._local.connection = kind(self._url.netloc, timeout=SILENCE_SECONDS)
        return connection

    def _forget(self) -> None:
        """A connection that failed once is not used again; the next post opens another."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
        self._local.connection = None


class _WebhookAnswer(msgspec.Struct):
    message: str = ""


def _reason(status: int, answer: bytes) -> str:
    if status < 300:
        return ""
    try:
        return msgspec.json.decode(answer, type=_WebhookAnswer).message or f"status {status}"
    except msgspec.DecodeError:
        return f"status {status}"

"""One POST to an address that a stranger chose: never to what is not public, never further than the first answer.

The name is resolved here, every address that it has must be public, and the connection goes to the one that was
checked, so that a name which changes meanwhile leads nowhere else. A redirect is an answer as any other. Of the answer
the status is read, and no more than was asked for.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Thread, Timer
from typing import Any
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from nilometer.domain.notices.webhook import check_webhook_url
from nilometer.errors import Rejected

LOOKUP_SECONDS, CONNECT_SECONDS, READ_SECONDS = 3.0, 3.0, 5.0
LOOKUPS = 64
"""At the same time in a process: one that was given up goes on until the resolver of the machine gives up, too."""
_free = BoundedSemaphore(LOOKUPS)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_OF_NAMES = {"unknown_host", "slow_lookup"}

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Posted:
    """`status` of the answer, or `None` and why: `not_public`, `unknown_host`, `slow_lookup` or `no_answer`.

    `body` is the beginning of it, as far as it was asked for.
    """

    status: int | None
    reason: str = ""
    body: bytes = b""

    @property
    def delivered(self) -> bool:
        """Whether the receiver said that it has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver said that nobody will ever take it there: 410."""
        return self.status == 410


def post(url: str, body: bytes, headers: Mapping[str, str], *, loopback: bool = False, reads: int = 0) -> Posted:
    """Within eleven seconds. `loopback` allows `http://127.0.0.1:PORT`, for a machine's own stack; `reads` is how many
    bytes of the answer are read."""
    try:
        check_webhook_url(url, loopback=loopback)
        parts = urlsplit(url)
        host, port = str(parts.hostname), parts.port or 443
        address = host if parts.scheme == "http" else public_address(host, port)
    except Rejected as error:
        return Posted(None, error.reason if error.reason in _OF_NAMES else "not_public")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with _pool(parts.scheme, address, host, port) as pool, _ended(pool):
            answered = pool.urlopen(
                "POST",
                target,
                body=body,
                headers={"host": parts.netloc, **headers},
                redirect=False,
                retries=False,
                preload_content=False,
            )
            told = answered.read(reads) if reads else b""
            answered.close()
            return Posted(answered.status, body=told)
    except (HTTPError, OSError, ValueError):  # ValueError: a header or status that http.client cannot read
        return Posted(None, "no_answer")


def public_address(host: str, port: int) -> str:
    """One that the name resolves to. `Rejected("not_public")` when any of them is not public, `unknown_host` when there
    is none, `slow_lookup` when its name server does not answer in time."""
    found = _resolved(host, port)
    if not found or not all(is_public(address) for address in found):
        raise Rejected("not_public", "the host name resolves to an address that is not public")
    return found[0]


def _resolved(host: str, port: int) -> list[str]:
    """`getaddrinfo` has no time limit: it runs in a thread that nobody waits for any longer, also not at the end of the
    process. Who finds no free thread waits for one, in the same time."""
    until = time.monotonic() + LOOKUP_SECONDS
    told: SimpleQueue[list[str] | Exception] = SimpleQueue()
    free = _free

    def look_up() -> None:
        try:
            told.put([str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as error:
            told.put(error)
        finally:
            free.release()

    if not free.acquire(timeout=LOOKUP_SECONDS):
        raise Rejected("slow_lookup", "too many look-ups of names wait for an answer")
    try:
        Thread(target=look_up, daemon=True, name=f"look up {host}").start()
    except RuntimeError:  # no thread can be started
        free.release()
        raise
    try:
        found = told.get(timeout=max(0.0, until - time.monotonic()))
    except Empty:
        raise Rejected("slow_lookup", "the name server of the host does not answer in time") from None
    if isinstance(found, Exception):
        raise Rejected("unknown_host", "the host name does not resolve") from found
    return found


def is_public(address: str) -> bool:
    """False of private, loopback, link-local, shared, reserved and multicast addresses, and of IPv6 that carries IPv4
    by any of the ways of translation."""
    try:
        parsed: _Address = ipaddress.ip_address(address)
    except ValueError:
        return False  # with a scope, as link-local addresses have
    if isinstance(parsed, ipaddress.IPv6Address):
        carried = parsed.ipv4_mapped or parsed.sixtofour or parsed.teredo
        if carried or parsed in _NAT64 or parsed.is_site_local:
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _pool(scheme: str, address: str, host: str, port: int) -> HTTPConnectionPool:
    timeout = Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS, total=CONNECT_SECONDS + READ_SECONDS)
    if scheme == "http":
        return HTTPConnectionPool(address, port, timeout=timeout, maxsize=1)
    return HTTPSConnectionPool(
        address,
        port,
        timeout=timeout,
        maxsize=1,
        ssl_context=_trust(),
        server_hostname=host,
        assert_hostname=host,
    )


@contextmanager
def _ended(pool: HTTPConnectionPool) -> Iterator[None]:
    """`TimeoutError` after so many seconds, whatever comes: the time-out of a socket begins again with each byte."""
    sockets: list[socket.socket] = []
    over = Event()
    base: Any = pool.ConnectionCls

    class Remembered(base):  # type: ignore[misc]  # one of two, by the scheme
        def connect(self) -> None:
            super().connect()
            sockets.append(self.sock)

    def end() -> None:
        over.set()  # before whoever reads notices
        for one in sockets:
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # also of TLS, which would say goodbye first

    pool.ConnectionCls = Remembered
    timer = Timer(CONNECT_SECONDS + READ_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
        if over.is_set():
            raise TimeoutError("the answer took too long")
    finally:
        timer.cancel()


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()

"""An HTTP/1.1 server of an ASGI application for one machine: no TLS, no HTTP/2, no WebSocket, and little CPU.

A request is handed on once its body is there, and an answer of one part leaves in one write. Requests of a connection
are answered one after the other, in their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

from nilometer.local.front.body import RequestBody
from nilometer.local.front.head import HEAD_BYTES, BadHead, Head, parse

_log = logging.getLogger("nilometer.front")

AHEAD_BYTES = 1024 * 1024  # of further requests that a connection may send before the answer
GRACE_SECONDS = 3.0  # for answers on their way when the server stops
BACKLOG = 512
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_WITHOUT_BODY = frozenset({204, 304})

Event = MutableMapping[str, Any]
Application = Callable[[Event, Any, Any], Awaitable[None]]


class Binding(Protocol):
    """Where to listen, as Hypercorn's configuration says it."""

    bind: list[str]
    keep_alive_timeout: float


async def serve(application: Application, config: Binding) -> None:
    """Hypercorn's `serve`: returns when the process was told to stop, and the application has shut down."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with _lifespan(application):
        host, _, port = config.bind[0].rpartition(":")
        front = Front(application, config.keep_alive_timeout)
        server = await loop.create_server(front.connection, host, int(port), backlog=BACKLOG)
        sweep = loop.create_task(front.sweep())
        await stop.wait()
        server.close()
        sweep.cancel()
        await front.stop()


@contextlib.asynccontextmanager
async def _lifespan(application: Application) -> AsyncIterator[None]:
    """The application has started inside the block, and shuts down after it. Source: ASGI, "Lifespan Protocol"."""
    asked: asyncio.Queue[Event] = asyncio.Queue()
    answered: asyncio.Queue[Event] = asyncio.Queue()
    running = asyncio.ensure_future(application({"type": "lifespan", "asgi": _ASGI}, asked.get, answered.put))
    for step in ("startup", "shutdown"):
        await asked.put({"type": f"lifespan.{step}"})
        answer = asyncio.ensure_future(answered.get())
        await asyncio.wait({answer, running}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() or answer.result()["type"] != f"lifespan.{step}.complete":
            raise RuntimeError(f"no {step}") from running.exception() if running.done() else None
        if step == "startup":
            yield
    await running


_ASGI: Mapping[str, str] = {"version": "3.0", "spec_version": "2.3"}


class Front:
    """The open connections of an application."""

    def __init__(self, application: Application, idle_seconds: float) -> None:
        self.application = application
        self.stops = False
        self._idle_seconds = idle_seconds
        self.open: set[FrontConnection] = set()

    def connection(self) -> FrontConnection:
        """Of a client that came."""
        return FrontConnection(self)

    async def sweep(self) -> None:
        """Closes what nobody has used, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._idle_seconds / 5)
            for one in tuple(self.open):
                one.close_if_idle(loop.time() - self._idle_seconds)

    async def stop(self) -> None:
        """Idle connections end now, the others with their answer or when their time is over."""
        self.stops = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GRACE_SECONDS
        while self.open and loop.time() < deadline:
            for one in tuple(self.open):
                one.close_if_idle(loop.time())
            await asyncio.sleep(0.01)
        for one in tuple(self.open):
            one.cut()


class FrontConnection(asyncio.Protocol):
    """One client: what has arrived, the request that is being read, the one that is being answered."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._arrived = bytearray()
        self._head: Head | None = None
        self._body = RequestBody(0)
        self._answering: asyncio.Task[None] | None = None
        self._used = self._loop.time()
        self.writable = asyncio.Event()
        self.writable.set()
        self.gone = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        self.transport: asyncio.Transport = transport
        self._client = transport.get_extra_info("peername")[:2]
        self._server = transport.get_extra_info("sockname")[:2]
        self._front.open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Who waits for it to read or to leave goes on."""
        self._front.open.discard(self)
        self.gone.set()
        self.writable.set()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The client has read."""
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """While an answer is on its way a client may send `AHEAD_BYTES` more."""
        self._arrived += data
        if self._answering is None:
            self._advance()
        elif len(self._arrived) > AHEAD_BYTES:
            self.transport.pause_reading()

    def close_if_idle(self, since: float) -> None:
        """When no answer is on its way and nothing was asked after `since`."""
        if self._answering is None and self._used <= since:
            self.transport.close()

    def cut(self) -> None:
        """Whatever it does."""
        self.transport.abort()

    def _advance(self) -> None:
        """Answers the next request, if all of it has arrived."""
        try:
            head = self._head or self._read_head()
            if head is None or (body := self._body.take(self._arrived)) is None:
                return
        except BadHead:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
            return
        self._head = None
        self._answering = self._loop.create_task(self._answer(head, body))

    def _read_head(self) -> Head | None:
        end = self._arrived.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_BYTES:
            if len(self._arrived) > HEAD_BYTES:
                raise BadHead("too large")
            return None
        head = parse(bytes(self._arrived[:end]))
        del self._arrived[: end + 4]
        self._head, self._body = head, RequestBody(head.length)
        if head.expects and not self._arrived:
            self.transport.write(_CONTINUE)
        return head

    async def _answer(self, head: Head, body: bytes) -> None:
        answer = Answer(self, head, body, closes=not head.keeps_alive or self._front.stops)
        try:
            await self._front.application(self._scope(head), answer.receive, answer.send)
        except Exception:  # noqa: BLE001  # the next request may be a good one
            _log.exception("%s %s", head.method, head.target)
        answer.finish()
        self._answering, self._used = None, self._loop.time()
        if not self.gone.is_set() and not self.transport.is_closing():
            self.transport.resume_reading()
            self._advance()

    def _scope(self, head: Head) -> Event:
        path, _, query = head.target.partition(b"?")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "method": head.method,
            "scheme": "http",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": self._client,
            "server": self._server,
        }


class Answer:
    """The application's side of one request."""

    def __init__(self, connection: FrontConnection, head: Head, body: bytes, *, closes: bool) -> None:
        self._connection = connection
        self._bare = head.method == "HEAD"
        self._body: bytes | None = body
        self._closes = closes
        self._start = b""
        self._begun = self._chunked = self._ended = False

    async def receive(self) -> Event:
        """The whole body, then that the client has gone."""
        if (body := self._body) is not None:
            self._body = None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._connection.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        """The head waits for the first part of the body."""
        if event["type"] == "http.response.start":
            self._start = self._lines(event["status"], event["headers"])
            return
        start, self._start = self._start, b""
        part, more = event.get("body", b""), event.get("more_body", False)
        self._ended = not more
        self._write(start + (b"" if self._bare else self._framed(part, more)))
        if not self._connection.writable.is_set():
            await self._connection.writable.wait()

    def finish(self) -> None:
        """An answer that was not begun is a 500; one that was not ended cannot be understood."""
        if not self._begun:
            self._closes = True
            self._write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        if self._closes or not self._ended:
            self._connection.transport.close()

    def _lines(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        self._begun = True
        parts = [_REASONS.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
        parts += [b"%b: %b\r\n" % header for header in headers]
        sized = any(name.lower() == b"content-length" for name, _ in headers)
        if not sized and not self._bare and status not in _WITHOUT_BODY:
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        if status in _WITHOUT_BODY:
            self._bare = True
        if self._closes:
            parts.append(b"connection: close\r\n")
        return b"".join((*parts, b"\r\n"))

    def _framed(self, part: bytes, more: bool) -> bytes:
        if not self._chunked:
            return part
        framed = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
        return framed if more else framed + b"0\r\n\r\n"

    def _write(self, content: bytes) -> None:
        if content and not self._connection.gone.is_set():
            self._connection.transport.write(content)

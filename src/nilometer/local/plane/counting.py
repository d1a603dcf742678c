"""A proxy before the engine that counts requests and bytes: what a run costs, however busy the machine is.

`python -m nilometer.local.plane.counting UPSTREAM` is its process, while the other end of its standard input is
held: delta-rs holds the GIL while it opens a table, so it cannot be a thread of who uses it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from nilometer.local.plane.charges import Charge, Exchange, charges

_CONTROL = "/_nilometer/counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Since the last reset. The charges of one caller, operation and resource are one, and `requests` says how many."""

    requests: int
    read: int  # bytes
    written: int  # bytes
    charges: tuple[tuple[Charge, int], ...]


class CountingProxy:
    """Listens on a free port while the context is open."""

    def __init__(self, upstream: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nilometer.local.plane.counting", upstream],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout  # noqa: S101  # opened above
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> CountingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def counts(self) -> Counts:
        """Asks the proxy's process; what is under way is not counted yet."""
        found = self._control("GET")
        counted = tuple((Charge(**one["charge"]), one["requests"]) for one in found.pop("charges"))
        return Counts(**found, charges=counted)

    def reset(self) -> None:
        """Everything is zero again. What `refuse` names stays refused."""
        self._control("DELETE")

    def refuse(self, *operations: str) -> None:
        """From now on these, `events PutEvents`, are answered with 503, as when a service is away; none ends it."""
        self._control("POST", json.dumps(operations).encode())

    def _control(self, method: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(self.url + _CONTROL, body, method=method)  # noqa: S310  # loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # as above
            return dict(json.load(response))


class _Tally:
    """Sums the charges that differ in their amounts alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.refused: frozenset[str] = frozenset()
        self.reset()

    def reset(self) -> None:
        """Everything is zero again. What `refuse` names stays refused."""
        self._requests = self._read = self._written = 0
        self._sums: dict[Charge, tuple[int, int, float]] = {}

    def add(self, exchange: Exchange) -> None:
        found = list(charges(exchange))
        with self._lock:
            self._requests += 1
            self._read += len(exchange.answer)
            self._written += len(exchange.body)
            for charge in found:
                self._add(charge)

    def _add(self, charge: Charge) -> None:
        key = replace(charge, items=0, billed=0.0)
        requests, items, billed = self._sums.get(key, (0, 0, 0.0))
        self._sums[key] = (requests + 1, items + charge.items, billed + charge.billed)

    def json(self) -> dict[str, Any]:
        with self._lock:
            return {
                "requests": self._requests,
                "read": self._read,
                "written": self._written,
                "charges": [
                    {"charge": {**asdict(key), "items": items, "billed": billed}, "requests": requests}
                    for key, (requests, items, billed) in self._sums.items()
                ],
            }


class _CountingServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle of a request is a normal end."""


class _CountingHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    upstream: ClassVar[tuple[str, int]]
    tally: ClassVar[_Tally]

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == _CONTROL:
            self._answer_control(body)
            return
        exchange = Exchange(method=self.command, target=self.path, headers=_lower(self.headers), body=body)
        if f"{exchange.service} {exchange.operation}" in self.tally.refused:
            self._answer(503, {}, b"{}")
            return
        if exchange.asks_for_units:
            exchange = exchange.asking_for_units()
        answer, content = self._ask(exchange)
        self.tally.add(replace(exchange, answer=content))
        self._answer(answer.status, dict(answer.getheaders()), content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815  # names of http.server

    def _answer_control(self, body: bytes) -> None:
        counted = self.tally.json()
        if self.command == "POST":
            self.tally.refused = frozenset(json.loads(body))
        if self.command == "DELETE":
            self.tally.reset()
        self._answer(200, {}, json.dumps(counted).encode())

    def _ask(self, exchange: Exchange) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.closing(connection):
            connection.putrequest(exchange.method, exchange.target, skip_host=True, skip_accept_encoding=True)
            for name, value in self._passed_on(exchange):
                connection.putheader(name, value)
            connection.endheaders(exchange.body or None)
            answer = connection.getresponse()
            return answer, answer.read()

    def _passed_on(self, exchange: Exchange) -> Iterator[tuple[str, str]]:
        for name, value in self.headers.items():
            if name.lower() == "content-length":
                yield name, str(len(exchange.body))
            elif name.lower() != "expect":  # answered here already
                yield name, value

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        if "content-length" not in map(str.lower, headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Silent."""


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def main(upstream: str) -> None:
    """Serves until the parent ends; the first line of its output is the port."""
    address = urlsplit(upstream)
    handler = type("Handler", (_CountingHandler,), {"upstream": (address.hostname, address.port), "tally": _Tally()})
    server = _CountingServer(("127.0.0.1", 0), handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(server.server_port, flush=True)  # what the parent waits for
    server.serve_forever()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])

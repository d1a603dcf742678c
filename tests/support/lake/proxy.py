"""An HTTP proxy before S3 that does to commits what networks do: lose, double and delay them."""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import random
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, ClassVar, Self
from urllib.parse import urlsplit

LATEST = 1.5  # seconds that a late write is on its way
KINDS = ("answer_lost", "request_lost", "doubled", "late")


@dataclass(frozen=True, slots=True)
class Faults:
    """`share` of the writes to a Delta log, and at most `most` of them, meet one of `kinds`."""

    share: float = 1.0
    seed: int = 1
    kinds: tuple[str, ...] = KINDS
    most: int = 1_000_000


NONE = Faults(most=0)


class FaultyProxy:
    """Runs in a process of its own while the context is open. Every request becomes a line of the file `record`:
    method, path and `If-None-Match`."""

    def __init__(self, upstream: str, faults: Faults, record: Path | None = None) -> None:
        fork = multiprocessing.get_context("fork")
        self._counts = fork.Array("i", len(KINDS))
        ours, theirs = fork.Pipe()
        self._process = fork.Process(target=_serve, args=(upstream, faults, self._counts, theirs, record), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{ours.recv()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def faults(self) -> dict[str, int]:
        return dict(zip(KINDS, self._counts, strict=True))


def _serve(upstream: str, faults: Faults, counts: Any, pipe: Any, record: Path | None) -> None:
    chance, lock = random.Random(faults.seed), threading.Lock()

    def choose(path: str) -> str | None:
        with lock:
            if "/_delta_log/" not in path or sum(counts) >= faults.most or chance.random() >= faults.share:
                return None
            kind = chance.choice(faults.kinds)
            counts[KINDS.index(kind)] += 1
            return kind

    address = urlsplit(upstream)
    about = {
        "upstream": (address.hostname, address.port),
        "choose": staticmethod(choose),
        "record": record.open("a", buffering=1) if record else None,
    }
    handler = type("Handler", (_Handler,), about)
    server = _Server(("127.0.0.1", 0), handler)
    pipe.send(server.server_port)
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Killed writers leave broken connections: that is the point."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    upstream: ClassVar[tuple[str, int]]
    choose: ClassVar[Any]
    record: ClassVar[IO[str] | None]

    def _forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.upstream, timeout=20)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(self._body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def _any(self) -> None:
        if self.record:
            self.record.write(f"{self.command} {self.path} {self.headers.get('If-None-Match', '')}\n")
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.choose(self.path) if self.command == "PUT" else None:
            case "request_lost":
                self._hang_up()
            case "answer_lost":
                self._forward()
                self._hang_up()
            case "late":
                # A zombie: the writer has long given up, and its write still arrives.
                threading.Timer(random.uniform(0.05, LATEST), self._forward).start()
                self._hang_up()
            case "doubled":
                self._forward()
                self._answer(*self._forward())
            case _:
                self._answer(*self._forward())

    def handle_expect_100(self) -> bool:
        """At once: boto3 waits a second for it."""
        answered = super().handle_expect_100()
        self.wfile.flush()
        return answered

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815  # names of http.server

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = dict(headers).get("content-length") or dict(headers).get("Content-Length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Silent."""

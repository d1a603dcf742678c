"""A proxy before S3 that counts requests and bytes: what a batch costs there, whatever the machine's weather."""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit


class CountingProxy:
    """Listens on a free port, in a process of its own: delta-rs holds the GIL while it opens a table."""

    def __init__(self, upstream: str) -> None:
        fork = multiprocessing.get_context("fork")
        self._counts = fork.Array("q", 3)
        ours, theirs = fork.Pipe()
        self._process = fork.Process(target=_serve, args=(upstream, self._counts, theirs), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{ours.recv()}"

    @property
    def requests(self) -> int:
        return int(self._counts[0])

    @property
    def read(self) -> int:
        return int(self._counts[1])

    @property
    def written(self) -> int:
        return int(self._counts[2])

    def reset(self) -> None:
        self._counts[:] = [0, 0, 0]

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(upstream: str, counts: Any, pipe: Any) -> None:
    address = urlsplit(upstream)
    handler = type("Handler", (_Handler,), {"upstream": (address.hostname, address.port), "counts": counts})
    server = _Server(("127.0.0.1", 0), handler)
    pipe.send(server.server_port)
    server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    upstream: ClassVar[tuple[str, int]]
    counts: ClassVar[Any]

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
        self._count(read=len(content), written=len(body))
        self._answer(answer, content)

    def _count(self, *, read: int, written: int) -> None:
        with self.counts.get_lock():
            self.counts[:] = [self.counts[0] + 1, self.counts[1] + read, self.counts[2] + written]

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815  # names of http.server

    def _answer(self, answer: http.client.HTTPResponse, body: bytes) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Silent."""

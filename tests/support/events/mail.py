"""Both ends of a mail: a service of addresses that says what the test wants, and what the engine's SES took."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Owner:
    """What it is asked, and what it answers: nobody's address at first."""

    port: int
    status: int = 204
    answer: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


class _Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # http.server's name
        owner: Owner = self.server.owner  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["content-length"]))
        owner.asked.append((body, {name.lower(): value for name, value in self.headers.items()}))
        told = json.dumps(owner.answer).encode() if owner.status != 204 else b""
        self.send_response(owner.status)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def answering() -> Iterator[Owner]:
    """A server on this machine, until the end of the `with`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        server.owner = Owner(server.server_port)  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.owner  # type: ignore[attr-defined]
        finally:
            server.shutdown()


def mails(endpoint_url: str, subject: str) -> list[dict[str, Any]]:
    """Those with the subject that SES took."""
    with urllib.request.urlopen(f"{endpoint_url}/_ministack/ses/messages") as answer:  # noqa: S310  # the engine
        told = json.load(answer)["messages"]
    return [one for taken in told.values() for one in taken if one["Subject"] == subject]

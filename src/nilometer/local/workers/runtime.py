"""The Lambda Runtime API of one worker: next, response, error and initialization error, over loopback HTTP.

Each worker has a server of its own, since nothing in the runtime client's requests names the worker.
Source: Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any, ClassVar

from nilometer.local.front.handler import QuickHandler

_PREFIX = "/2018-06-01/runtime/"


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """What an invocation came to: the function's JSON, or a function error with its type."""

    payload: bytes
    error: str | None = None

    @classmethod
    def failed(cls, error: str, message: str) -> InvocationResult:
        """The form in which Lambda reports a function error to who invoked it."""
        return cls(json.dumps({"errorType": error, "errorMessage": message}).encode(), error)


@dataclass(slots=True)
class Invocation:
    """One event in a worker. `timeout` in seconds counts from the moment the worker took it."""

    event: bytes
    timeout: float
    function_arn: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    done: threading.Event = field(default_factory=threading.Event)
    answer: InvocationResult | None = None

    def finish(self, answer: InvocationResult) -> None:
        """The first answer counts: a crash after the response changes nothing."""
        if not self.done.is_set():
            self.answer = answer
            self.done.set()


class RuntimeApi:
    """`ready` is called each time the worker asks for its next event; then `send` gives it one."""

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready
        self._inbox: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._current: Invocation | None = None
        self.init_error: InvocationResult | None = None
        self._server = _RuntimeServer(("127.0.0.1", 0), type("Handler", (_RuntimeHandler,), {"runtime": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def address(self) -> str:
        """`HOST:PORT`, for AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        """Listens from the making on; answers from now on."""
        self._thread.start()

    def send(self, invocation: Invocation) -> None:
        """Hands one invocation to the worker, which runs one at a time: the caller waits for `Invocation.done`."""
        self._inbox.put(invocation)

    def close(self) -> None:
        """After the worker's end: an invocation that it never took is left to the caller."""
        self._inbox.put(None)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next(self) -> Invocation | None:
        """Blocks until there is one; None when the API closes. That a worker asks shows that it is ready."""
        self._ready()
        self._current = self._inbox.get()
        return self._current

    def answer(self, invocation_id: str, answer: InvocationResult) -> bool:
        """False for an invocation that this worker is not running."""
        current = self._current
        if current is None or current.id != invocation_id:
            return False
        current.finish(answer)
        return True


class _RuntimeServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that was killed in the middle of a request is a normal end."""


class _RuntimeHandler(QuickHandler):
    runtime: ClassVar[RuntimeApi]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        invocation = self.runtime.next()
        if invocation is None:
            self.close_connection = True
            return
        deadline = int((time.time() + invocation.timeout) * 1000)
        self._reply(
            200,
            invocation.event,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.id,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                "Content-Type": "application/json",
            },
        )

    def do_POST(self) -> None:  # noqa: N802  # as above
        body = self._body()
        parts = self.path.removeprefix(_PREFIX).split("/")
        match parts:
            case ["init", "error"]:
                self.runtime.init_error = _error(body)
                accepted = True
            case ["invocation", invocation_id, "response"]:
                accepted = self.runtime.answer(invocation_id, InvocationResult(body))
            case ["invocation", invocation_id, "error"]:
                accepted = self.runtime.answer(invocation_id, _error(body))
            case _:
                accepted = False
        self._reply(202 if accepted else 400, b"{}", {"Content-Type": "application/json"})

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self._chunks()
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(body: bytes) -> InvocationResult:
    try:
        error = json.loads(body).get("errorType")
    except (ValueError, AttributeError):
        error = None
    return InvocationResult(body, str(error or "Unhandled"))

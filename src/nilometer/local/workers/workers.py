"""Worker processes: one process runs one function and one invocation at a time.

As in Lambda, a worker past the function's timeout is killed, and one that was killed or crashed fails
its invocation. Unlike Lambda, the time of the first initialization does not
count towards the timeout, since two cores may start all functions at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nilometer.local.plane.deployed import Function
from nilometer.local.workers.chaos import Sabotage
from nilometer.local.workers.processes import Launcher, Order
from nilometer.local.workers.runtime import Invocation, InvocationResult, RuntimeApi

INIT_SECONDS = 60
_AWS = (
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
# Nothing else of the user's environment reaches a function: no profile, no real credentials, no proxy.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT", "PYTHONPATH")


class Worker:
    """A process and its Runtime API. `ready` and `ended` are called from other threads."""

    def __init__(
        self,
        function: Function,
        *,
        environment: Mapping[str, str],
        log: Path,
        launcher: Launcher,
        ready: Callable[[Worker], None],
        ended: Callable[[Worker], None],
    ) -> None:
        self._function = function
        self._current: Invocation | None = None
        self._ended = ended
        self._lock = threading.Lock()
        self._dead = False
        self.initialized = threading.Event()
        self._notify_ready = ready
        self._api = RuntimeApi(self._ready)
        variables = {**environment, "AWS_LAMBDA_RUNTIME_API": self._api.address}
        order = Order(handler=function.handler, environment=variables, folder=str(log.parent))
        self._process = launcher.start(order, log)
        self._waiter = threading.Thread(target=self._wait, daemon=True)

    def start(self) -> None:
        """Returns at once; `ready` is called when the function's module has been imported."""
        self._api.start()
        self._waiter.start()

    @property
    def init_error(self) -> InvocationResult | None:
        """Why the function's module could not be imported; None while it has not failed."""
        return self._api.init_error

    @property
    def pid(self) -> int:
        """The process id, which is that of its process group too."""
        return self._process.pid

    def invoke(self, event: bytes, sabotage: Sabotage) -> InvocationResult:
        """Blocks until the answer, the timeout or the worker's end."""
        invocation = Invocation(event, self._function.timeout, self._function.arn)
        with self._lock:
            if self._dead:
                return _exited(invocation.id)
            self._current = invocation
        with _after(sabotage.kill_after, self.kill):
            self._api.send(invocation)
            finished = invocation.done.wait(self._function.timeout)
        if not finished:
            invocation.finish(_timed_out(invocation))
            self.kill()
        if sabotage.kill_finished:
            self.kill()
            return _exited(invocation.id)
        assert invocation.answer  # noqa: S101  # set with `done`
        return invocation.answer

    def kill(self) -> None:
        """SIGKILL to the worker and what it started."""
        self._process.kill()

    def join(self) -> None:
        """Blocks until the process has ended and `ended` was called."""
        self._waiter.join()

    def _ready(self) -> None:
        self.initialized.set()
        self._notify_ready(self)

    def _wait(self) -> None:
        with _after(INIT_SECONDS, self._kill_uninitialized):
            self._process.wait()
        with self._lock:
            self._dead = True
            current = self._current
        if current:
            current.finish(_exited(current.id))
        self._ended(self)
        self._api.close()

    def _kill_uninitialized(self) -> None:
        if not self.initialized.is_set():
            self.kill()


def _timed_out(invocation: Invocation) -> InvocationResult:
    return InvocationResult.failed(
        "Sandbox.Timedout", f"{invocation.id} Task timed out after {invocation.timeout:.2f} seconds"
    )


def _exited(invocation_id: str) -> InvocationResult:
    return InvocationResult.failed(
        "Runtime.ExitError", f"RequestId: {invocation_id} Error: Runtime exited without an answer"
    )


@contextlib.contextmanager
def _after(seconds: float | None, act: Callable[[], None]) -> Iterator[None]:
    """Acts once the time is up, unless the block has ended by then."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def environment_of(function: Function, *, aws: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The deployed variables, the reserved ones of Lambda, endpoint and credentials of `aws`. `extra` wins.

    Source: Lambda Developer Guide, "Defined runtime environment variables".
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    engine = {name: aws[name] for name in _AWS if name in aws}
    reserved = {
        "_HANDLER": function.handler,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": function.log_format,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        # Names the function in the user agent of its requests (`local.charges`).
        "AWS_SDK_UA_APP_ID": function.name,
        "TZ": "UTC",
    }
    return {**inherited, **function.environment, **engine, **reserved, **extra}

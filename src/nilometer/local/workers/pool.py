"""The workers of one function: as many as are invoked at once, up to a small bound, one kept warm."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nilometer.local.plane.deployed import Function
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.chaos import NONE, Sabotage
from nilometer.local.workers.cpu import cpu_seconds
from nilometer.local.workers.processes import Launcher
from nilometer.local.workers.runtime import InvocationResult
from nilometer.local.workers.workers import Worker

THROTTLED = InvocationResult.failed("TooManyRequestsException", "Rate Exceeded.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What Lambda bills: invocations and the seconds that they took, failed ones too.

    `cpu` are the seconds on a processor among them; 0 where the system does not say it.
    """

    invocations: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


class Pool:
    """Thread-safe. A worker is idle exactly while it waits for its next event."""

    def __init__(
        self,
        function: Function,
        *,
        environment: Mapping[str, str],
        log: Path,
        size: int,
        activity: Activity,
        launcher: Launcher,
    ) -> None:
        self.function = function
        self._environment = environment
        self._log = log
        self._size = size
        self._activity = activity
        self._launcher = launcher
        self._changed = threading.Condition()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._outdated: set[Worker] = set()
        self._waiting = 0
        self._failed_starts: list[InvocationResult] = []
        self._closed = False
        self.errors = 0
        self.restarts = 0
        self.used: dict[str, Used] = {}  # by what invoked

    def warm(self) -> None:
        """Starts the first worker in the background."""
        with self._changed:
            if not self._workers and not self._closed:
                self._add()

    def invoke(
        self, event: bytes, *, source: str = "", sabotage: Sabotage = NONE, patience: float | None = None
    ) -> InvocationResult:
        """The function's answer or a function error. Waits for a free worker, `patience` seconds at most."""
        with self._activity.running():
            time.sleep(sabotage.delay)
            worker = self._idle_worker(patience)
            answer = self._run(worker, event, source, sabotage) if isinstance(worker, Worker) else worker
        if sabotage.drop_answer and not answer.error:
            answer = InvocationResult.failed("Chaos.AnswerDropped", "the function succeeded and its answer was dropped")
        if answer.error:
            with self._changed:
                self.errors += 1
        return answer

    def renew(self) -> None:
        """New workers, which import the sources as they are now: idle ones end at once, the rest with their answer."""
        with self._changed:
            self._outdated |= self._workers
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
        self.warm()

    def close(self) -> None:
        """Kills the workers; what they run fails."""
        with self._changed:
            self._closed = True
            workers = list(self._workers)
            self._changed.notify_all()
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()

    @property
    def log_bytes(self) -> int:
        """Size of the function's log file; 0 before its first line."""
        return self._log.stat().st_size if self._log.exists() else 0

    def _run(self, worker: Worker, event: bytes, source: str, sabotage: Sabotage) -> InvocationResult:
        began, used = time.monotonic(), cpu_seconds(worker.pid)
        answer = worker.invoke(event, sabotage)
        took, cpu = time.monotonic() - began, max(cpu_seconds(worker.pid) - used, 0.0)
        with self._changed:
            before = self.used.get(source, Used())
            self.used[source] = Used(
                invocations=before.invocations + 1, seconds=before.seconds + took, cpu=before.cpu + cpu
            )
        return answer

    def _idle_worker(self, patience: float | None) -> Worker | InvocationResult:
        deadline = None if patience is None else time.monotonic() + patience
        with self._changed:
            self._waiting += 1
            try:
                return self._await_idle(deadline, failures=len(self._failed_starts))
            finally:
                self._waiting -= 1

    def _await_idle(self, deadline: float | None, *, failures: int) -> Worker | InvocationResult:
        while not self._idle:
            if self._closed:
                return InvocationResult.failed("Runtime.ExitError", "the runner is stopping")
            if len(self._failed_starts) > failures:
                return self._failed_starts[-1]
            self._grow()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return THROTTLED
            self._changed.wait(left)
        # The last to become idle is the warmest.
        return self._idle.pop()

    def _grow(self) -> None:
        starting = sum(not worker.initialized.is_set() for worker in self._workers)
        if starting < self._waiting and len(self._workers) < self._size:
            self._add()

    def _add(self) -> None:
        worker = Worker(
            self.function,
            environment=self._environment,
            log=self._log,
            launcher=self._launcher,
            ready=self._ready,
            ended=self._ended,
        )
        self._workers.add(worker)
        worker.start()

    def _ready(self, worker: Worker) -> None:
        with self._changed:
            outdated = worker in self._outdated
            if not outdated:
                self._idle.append(worker)
                self._changed.notify()  # one worker serves one: who waits is as good as another
        if outdated:
            worker.kill()

    def _ended(self, worker: Worker) -> None:
        with self._changed:
            self._workers.discard(worker)
            self._outdated.discard(worker)
            self._idle = [idle for idle in self._idle if idle is not worker]
            if not worker.initialized.is_set():
                self._failed_starts.append(worker.init_error or _not_started(self.function))
            self.restarts += not self._closed
            self._changed.notify_all()
        # A function that cannot start is tried again by its next invocation, not in a loop.
        if worker.initialized.is_set():
            self.warm()


def _not_started(function: Function) -> InvocationResult:
    return InvocationResult.failed("Runtime.ExitError", f"{function.handler} exited before it could take an event")

"""Counts everything that the runner does, so that who reads several places sees whether something moved meanwhile, and
so that what waits in queues and streams gives way to who waits for an answer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

CROWD = 2  # requests at once for which the others make room
GIVE_WAY_SECONDS = 2.0  # the longest that a poller waits before a turn


class Activity:
    """`count` only grows; `invocations` is how many run now."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._answering = 0
        self.count = 0
        self.invocations = 0

    def note(self) -> None:
        """Something has moved."""
        with self._lock:
            self.count += 1

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """An invocation runs inside the block."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Inside the block somebody waits for the answer to an HTTP request."""
        self._wait_for_answers(1)
        try:
            yield
        finally:
            self._wait_for_answers(-1)

    def give_way(self, seconds: float = GIVE_WAY_SECONDS) -> None:
        """Returns once fewer than `CROWD` HTTP requests wait for their answer, after `seconds` at the latest."""
        with self._lock:
            self._lock.wait_for(lambda: self._answering < CROWD, seconds)

    def _wait_for_answers(self, by: int) -> None:
        with self._lock:
            self._answering += by
            if self._answering < CROWD:
                self._lock.notify_all()

    def _change(self, by: int) -> None:
        with self._lock:
            self.count += 1
            self.invocations += by

"""Counts everything that the runner does, so that who reads several places sees whether something moved meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Activity:
    """`count` only grows; `invocations` is how many run now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
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

    def _change(self, by: int) -> None:
        with self._lock:
            self.count += 1
            self.invocations += by

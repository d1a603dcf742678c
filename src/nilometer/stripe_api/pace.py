"""The pace of requests to Stripe, which counts all accounts of a key together."""

from __future__ import annotations

import threading
import time


class Pace:
    """Evenly spaced turns over all threads; `turns` counts them."""

    def __init__(self, per_second: float) -> None:
        self._pause = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()
        self.turns = 0

    def wait(self) -> None:
        """Sleeps until the turn of this call. Turns are given in the order of the calls."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._pause
            self.turns += 1
        time.sleep(turn - now)

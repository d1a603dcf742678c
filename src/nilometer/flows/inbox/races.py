"""What to do when somebody was faster: read again, decide again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from nilometer.errors import Cancelled

ATTEMPTS = 12
LONGEST = 0.5  # seconds between two attempts

_T = TypeVar("_T")


def retrying(attempt: Callable[[], _T]) -> _T:
    """Calls `attempt` until its transaction is not cancelled, with full jitter; the last `Cancelled` is raised."""
    for count in range(ATTEMPTS):
        try:
            return attempt()
        except Cancelled:
            if count == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, min(LONGEST, 0.02 * 2**count)))
    raise AssertionError("unreachable")

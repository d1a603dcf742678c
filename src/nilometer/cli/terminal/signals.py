"""Commands that run until they are stopped: SIGTERM ends them as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does; a second signal while stopping, and after it, changes nothing.

    The handlers from before come back unless a signal came: the process ends then, and must not be ended by what still
    watches for that signal.
    """
    came = False

    def interrupt(*_: object) -> None:
        nonlocal came
        came = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if not came:
            for number, handler in before.items():
                signal.signal(number, handler)

"""Where the project's own files lie, and the builds that are made of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
HERE = "arm64" if os.uname().machine == "aarch64" else "x86_64"  # the processor of this machine
Build = Callable[[str], Path]  # from a processor to the folder of its build


def least(measured: Callable[[], float], *, wanted: float, tries: int = 20) -> float:
    """The least of several measurements, of no more than it takes to be `wanted` at most.

    What else a machine does makes a measurement larger, and nothing makes it smaller than the code is.
    """
    found = measured()
    for _ in range(tries - 1):
        if found <= wanted:
            break
        found = min(found, measured())
    return found

"""Where the project's own files lie, and the builds that are made of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
HERE = "arm64" if os.uname().machine == "aarch64" else "x86_64"  # the processor of this machine
Build = Callable[[str], Path]  # from a processor to the folder of its build


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills: once for all workers of a session, the others wait. Nobody changes it."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    done = folder.with_name(f"{folder.name}.made")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


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


def soon(condition: Callable[[], object], *, seconds: float = 30) -> bool:
    """Whether it is true before the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(found)

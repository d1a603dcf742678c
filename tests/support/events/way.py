"""How many files one event passes: what somebody must read who wants to follow it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import nilometer

HANDLER = 2  # the function's own file, and what all functions share
INBOX = 1  # counted as one, for it is learnt once for all queues
FOUNDATIONS = ("domain/store/", "aws/", "flows/inbox/")  # how all is stored; how it travels; what every queue promises


def files_passed(call: Callable[[], Any]) -> list[str]:
    """The files of the package in which a function of ours began while `call` ran, from the package's folder."""
    package = str(Path(nilometer.__file__).parent) + "/"
    passed: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(package):
            passed.add(name.removeprefix(package))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return sorted(passed)


def own(files: list[str]) -> list[str]:
    """Without the foundations on which every subject stands."""
    return [name for name in files if not name.startswith(FOUNDATIONS)]

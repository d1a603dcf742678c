"""Which files of the sources changed since the last look, for `nilometer local --reload`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nilometer

SOURCES = Path(nilometer.__file__).parent
LOOK_SECONDS = 1.0


@dataclass(slots=True)
class SourcesWatch:
    """Python files below `folder`, by their times of change; at most one look in `seconds`."""

    folder: Path = SOURCES
    seconds: float = LOOK_SECONDS
    _known: Mapping[Path, int] = field(default_factory=dict)
    _next: float = 0.0

    def __post_init__(self) -> None:
        self._known = _times(self.folder)

    def changed(self) -> Sequence[Path]:
        """Files that were written, added or removed since the last look, relative to the folder."""
        if time.monotonic() < self._next:
            return ()
        found, before = _times(self.folder), self._known
        self._known, self._next = found, time.monotonic() + self.seconds
        both = sorted(found.keys() | before.keys())
        return [one.relative_to(self.folder) for one in both if found.get(one) != before.get(one)]


def _times(folder: Path) -> dict[Path, int]:
    """A file that goes while it is looked at is left out."""
    return {path: time_ns for path in folder.rglob("*.py") if (time_ns := _time(path)) is not None}


def _time(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None

"""Where the log lines of a stack's functions come from: files on this machine, CloudWatch Logs on AWS."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nilometer.aws import logs
from nilometer.errors import Unavailable

TAIL_BYTES = 400_000  # of each file, at the first look
CLOUD_SECONDS = 2.0  # between two looks into CloudWatch
RECENT = timedelta(minutes=15)
OVERLAP = timedelta(seconds=10)  # CloudWatch takes lines in late
_OF_RECORDS = '{ $.message = "*.*" }'


@dataclass(slots=True)
class LogFolder:
    """`NAME.log` files that grow. A file that became shorter was begun anew."""

    folder: Path
    _read: dict[Path, int] = field(default_factory=dict)
    _rest: dict[Path, bytes] = field(default_factory=dict)

    def poll(self) -> Iterable[str]:
        """Whole lines that came since the last call."""
        return [line for path in sorted(self.folder.glob("*.log")) for line in self._new(path)]

    def _new(self, path: Path) -> Iterator[str]:
        size = path.stat().st_size
        start = self._read.get(path, max(0, size - TAIL_BYTES))
        if size == start:
            return
        if size < start:
            start, self._rest[path] = 0, b""
        with path.open("rb") as file:
            file.seek(start)
            content = self._rest.get(path, b"") + file.read(size - start)
        self._read[path] = size
        whole, _, self._rest[path] = content.rpartition(b"\n")
        yield from whole.decode(errors="replace").splitlines()


@dataclass(slots=True)
class CloudLogs:
    """The log groups of a stack, asked every two seconds at most; a line that comes twice is the same line again.

    Groups that may not be read are left out.
    """

    client: Any
    groups: Sequence[str]
    _since: datetime = field(default_factory=lambda: datetime.now(UTC) - RECENT)
    _next: float = 0.0

    def poll(self) -> Iterable[str]:
        """The lines of the last seconds."""
        if time.monotonic() < self._next:
            return []
        since, self._since = self._since, datetime.now(UTC) - OVERLAP
        found = [line for group in self.groups for line in self._of(group, since)]
        self._next = time.monotonic() + CLOUD_SECONDS
        return found

    def _of(self, group: str, since: datetime) -> list[str]:
        try:
            return list(logs.lines(self.client, group, pattern=_OF_RECORDS, since=since))
        except Unavailable:
            return []

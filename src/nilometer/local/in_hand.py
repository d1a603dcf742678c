"""Which messages a runner has in hand, in a file, so that the next one can give back what a kill left invisible."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

_SPARE_LINES = 1000


class InHand:
    """Receipt handles, one a line. Thread-safe; for the death of a process, not of the machine.

    Taking appends to the file. Giving back rewrites it, atomically, once nothing is left or most lines are old.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._lines = 0

    def left(self) -> list[str]:
        """What an earlier runner took and did not give back."""
        return self._path.read_text().split() if self._path.exists() else []

    def take(self, handles: Collection[str]) -> None:
        if not handles:
            return
        with self._lock, self._path.open("a") as file:
            file.writelines(f"{handle}\n" for handle in handles)
            self._held.update(handles)
            self._lines += len(handles)

    def give_back(self, handles: Collection[str]) -> None:
        with self._lock:
            self._held.difference_update(handles)
            if not self._held or self._lines > len(self._held) + _SPARE_LINES:
                self._rewrite()

    def _rewrite(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{handle}\n" for handle in self._held))
        new.replace(self._path)
        self._lines = len(self._held)

"""How far each event source mapping has come in each shard: one small JSON file, replaced atomically."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path


class Checkpoints:
    """Sequence number of the last record that is done, by mapping and shard. Thread-safe.

    A mapping is known by function and table, not by its UUID, so a new deployment goes on where the
    old one was. `save` returns when the file is on disk; a kill leaves the old or the new file. A file that was
    damaged otherwise is put aside: `damaged` is its new place, and every stream is read from its beginning again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.damaged: Path | None = None
        self._done = self._read()

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._path.read_bytes()) if self._path.exists() else {}
        except ValueError:
            self.damaged = self._path.replace(self._path.with_suffix(".damaged"))
            return {}
        return found

    def get(self, mapping: str, shard: str) -> str | None:
        """None when nothing of this shard was done yet."""
        return self._done.get(f"{mapping}#{shard}")

    def save(self, mapping: str, shard: str, sequence_number: str) -> None:
        """The record with this number and all before it are done."""
        with self._lock:
            self._done[f"{mapping}#{shard}"] = sequence_number
            new = self._path.with_suffix(".new")
            with new.open("w") as file:
                json.dump(self._done, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)

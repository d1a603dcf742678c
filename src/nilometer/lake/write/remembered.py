"""The ids in data files that this process has read, as a fingerprint of each.

A data file never changes, and no other file gets its name. So a process reads the ids of a file once, and from then on
looks for those of a batch in a set: 0.3 microseconds an id, however many are stored. A fingerprint only rules out. An
id that has one here is looked for in the table: the file may be gone from it, and two ids may have the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

MOST = 2_500_000
"""Ids in memory, of all tables: about 100 bytes each. Of more than half of them at once nothing is remembered, so that
reading all of them again is seldom."""

FileId = tuple[str, str, str]  # the table's URI, the column, the file's path


@dataclass(slots=True)
class Fingerprints:
    """Of all ids in `files`. It only grows: when it is full a new one takes its place, and who still uses this one
    finds in it what was there."""

    files: set[FileId] = field(default_factory=set)
    prints: set[int] = field(default_factory=set)

    def add(self, files: Iterable[FileId], ids: Iterable[Iterable[str]]) -> None:
        """`ids` are those of `files`, all of them; nothing is remembered of the files when reading them raises."""
        for some in ids:
            self.prints.update(map(hash, some))
        self.files.update(files)

    def of(self, ids: Set[str]) -> set[str]:
        """Those that may be among them."""
        return {id_ for id_ in ids if hash(id_) in self.prints}


_newest = Fingerprints()


def possible(
    files: dict[FileId, int], ids: Set[str], read: Callable[[Set[FileId]], Iterable[Iterable[str]]]
) -> Set[str]:
    """Those of `ids` that one of the files may hold; all of them when the files have too many rows to be remembered.

    `files` says how many rows each has. `read` gives at least all ids of some, and is asked for what is not in memory.
    """
    global _newest  # noqa: PLW0603  # the memory of the process
    if 2 * sum(files.values()) > MOST:
        return ids
    memory = _newest
    unread = files.keys() - memory.files
    if unread and len(memory.prints) + sum(files[file] for file in unread) > MOST:
        memory = _newest = Fingerprints()
        unread = set(files)
    if unread:
        memory.add(unread, read(unread))
    return memory.of(ids)

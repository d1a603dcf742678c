"""The ids in data files that this process has read, as a fingerprint of each.

A data file never changes, and no other file gets its name. So a process reads the ids of a file once, and from then on
looks for those of a batch in sets: 0.02 microseconds for each pair of an id and a file. A fingerprint only rules out.
An id that has one here is looked for in the table: the file may be gone from it, and two ids may have the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set

from nilometer.domain.store.together import together

MOST = 2_500_000
"""Ids in memory, of all tables: about 100 bytes each. Of more than half of them at once nothing is remembered, so that
reading all of them again is seldom."""
READ_AT_ONCE = 50_000  # rows: each reading costs 5 ms more, and an id is looked for in all its files
SPARE = 1_000
"""Ids of other files that a reading may give, besides as many as its own files have. Files that were recorded at the
same time are read with each other, and a memory of all would grow with their square."""

FileId = tuple[str, str, str]  # the table's URI, the column, the file's path
Read = Callable[[list[FileId]], Iterable[Iterable[str]]]

_prints: dict[FileId, frozenset[int]] = {}
"""Those of a file are there together or not at all. Files that were read together share a set."""


def possible(files: Mapping[FileId, int], ids: Set[str], read: Read) -> tuple[Set[str], Set[FileId]]:
    """Those of `ids` that the files may hold, and the files that may hold one; all of both when the files have too many
    rows to be remembered, or when two of `ids` have the same fingerprint.

    `files` says how many rows each has. `read` gives at least all ids of some, and is asked for what is not in memory,
    in this order. What it raises is raised, and nothing is remembered of the files that it was asked for.
    """
    if 2 * sum(files.values()) > MOST:
        return ids, files.keys()
    own = {hash(id_): id_ for id_ in ids}
    if len(own) < len(ids) or (prints := _prints_of(files, read)) is None:
        return ids, files.keys()
    asked = frozenset(own)
    met = {file_prints: asked & file_prints for file_prints in set(prints.values())}
    return (
        {own[print_] for some in met.values() for print_ in some},
        {file for file, file_prints in prints.items() if met[file_prints]},
    )


def _prints_of(files: Mapping[FileId, int], read: Read) -> dict[FileId, frozenset[int]] | None:
    """None when some files cannot be read without many ids of others."""
    found = {file: prints for file in files if (prints := _prints.get(file)) is not None}
    unread = [file for file in files if file not in found]
    for some in together(unread, files.__getitem__, most=len(unread), most_bytes=READ_AT_ONCE):  # rows, not bytes
        prints = _read_prints(read(some), most=2 * sum(files[file] for file in some) + SPARE)
        if prints is None:
            return None
        found |= dict.fromkeys(some, prints)
        _prints.update(dict.fromkeys(some, prints))
        if sum(map(len, set(_prints.values()))) > MOST:
            _prints.clear()
            _prints.update(found)
    return found


def _read_prints(ids: Iterable[Iterable[str]], *, most: int) -> frozenset[int] | None:
    prints: set[int] = set()
    for some in ids:
        prints.update(map(hash, some))
        if len(prints) > most:
            return None
    return frozenset(prints)

"""What this process knows of the ids in data files, as a fingerprint of each.

A data file never changes, and no other file gets its name. So a process reads the ids of a file once, and of one that
it has written itself not at all; from then on it looks for those of a batch in sets: 0.02 microseconds for each pair of
an id and a file. A fingerprint only rules out. An id that has one here is looked for in the table: the file may be gone
from it, and two ids may have the same one.

Of files that others have added since the last batch the entries of the log are read, all at once and a request each:
they say a shorter fingerprint of each key. Only a file that shares one with the batch is read itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from nilometer.domain.store.together import together
from nilometer.lake.tables.entries import Commit

MOST = 2_500_000
"""Ids in memory, of all tables: about 100 bytes each. Of more than half of them at once nothing is remembered, so that
reading all of them again is seldom."""
READ_AT_ONCE = 50_000  # rows: each reading costs 5 ms more, and an id is looked for in all its files
SPARE = 1_000
"""Ids of other files that a reading may give, besides as many as its own files have. Files that were recorded at the
same time are read with each other, and a memory of all would grow with their square."""

MOST_ENTRIES = 16  # that are read at once; of more the files are, which are fewer requests

FileId = tuple[str, str, str]  # the table's URI, the column, the file's path
Read = Callable[[list[FileId]], Iterable[Iterable[str]]]

_prints: dict[FileId, frozenset[int]] = {}
"""Those of a file are there together or not at all. Files that were read together share a set."""
_said: dict[tuple[str, str], frozenset[int]] = {}
"""What an entry says of its files, by the table's URI and the path."""
_logs: dict[str, _Log] = {}
"""By the table's URI."""


@dataclass(slots=True)
class _Log:
    """The version up to which entries need not be read, and those after it that are known."""

    version: int
    noted: set[int] = field(default_factory=set)


def note(table_uri: str, version: int, commit: Commit) -> None:
    """That this is the commit of the version."""
    log = _logs.setdefault(table_uri, _Log(version - 1))
    if version in log.noted:
        return
    log.noted.add(version)
    if commit.keys is not None:
        _keep({}, dict.fromkeys(((table_uri, path) for path in commit.paths), commit.keys))


def catch_up(table_uri: str, version: int, read: Callable[[Sequence[int]], Sequence[bytes | None]]) -> None:
    """Reads the entries since the last time, up to `version`, unless they are many. What `read` raises is raised."""
    log = _logs.setdefault(table_uri, _Log(version))
    unread = [number for number in range(log.version + 1, version + 1) if number not in log.noted]
    if 0 < len(unread) <= MOST_ENTRIES:
        for number, entry in zip(unread, read(unread), strict=True):
            if entry is not None:
                note(table_uri, number, Commit(entry))
    _logs[table_uri] = _Log(version, {number for number in log.noted if number > version})


def is_read(file: FileId) -> bool:
    """Whether its ids are known."""
    return file in _prints


def may_hold(files: Iterable[FileId], ids: Set[str], key_prints: Callable[[], Set[int]]) -> set[FileId]:
    """But those of `files` that hold none of `ids`, the batch's values of the column, or none of its keys.

    `key_prints` are fingerprints of the keys (`tables.entries`), asked for when an entry has said its own.
    """
    own, answers, found = frozenset(map(hash, ids)), dict[int, bool](), set[FileId]()
    for file in files:
        known = _prints.get(file)
        if known is None and (known := _said.get((file[0], file[2]))) is not None:
            met = not known.isdisjoint(key_prints())
        elif known is None:
            met = True
        elif (answer := answers.get(id(known))) is not None:  # of files that were read together
            met = answer
        else:
            met = answers[id(known)] = not known.isdisjoint(own)
        if met:
            found.add(file)
    return found


def remember(files: Iterable[FileId], ids: Iterable[str]) -> None:
    """That the files hold these ids of the column, and no other."""
    _keep(dict.fromkeys(files, frozenset(map(hash, ids))), {})


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
        _keep(found, {})
    return found


def _keep(prints: Mapping[FileId, frozenset[int]], said: Mapping[tuple[str, str], frozenset[int]]) -> None:
    """And forgets all else when it is too much."""
    _prints.update(prints)
    _said.update(said)
    if sum(map(len, {*_prints.values(), *_said.values()})) > MOST:
        _prints.clear()
        _said.clear()
        _prints.update(prints)
        _said.update(said)


def _read_prints(ids: Iterable[Iterable[str]], *, most: int) -> frozenset[int] | None:
    prints: set[int] = set()
    for some in ids:
        prints.update(map(hash, some))
        if len(prints) > most:
            return None
    return frozenset(prints)

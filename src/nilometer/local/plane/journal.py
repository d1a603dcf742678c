"""What the engine must keep: every table item, stream record and queued message, in one SQLite file.

The engine holds its state in memory. What a request changed is written here in one transaction before the request is
answered, so a kill -9 of all processes loses nothing that was acknowledged. The write-ahead log is synced at
checkpoints, half a second after a write: after a power cut the file is whole, and what was written in the last instants
may be missing. A thread with a connection of its own makes them, because a sync of the disk takes up to 0.1 s.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nilometer.errors import Misconfigured

FILE = "journal.sqlite3"
CHECKPOINT_SECONDS = 0.5
_LARGEST_LOG = 4000  # pages of 4 KB, from which on the writer makes the checkpoints
_TABLES = """
create table if not exists items (place text, pk text, sk text, item blob, primary key (place, pk, sk)) without rowid;
create table if not exists records (place text, number text, record blob, primary key (place, number)) without rowid;
create table if not exists messages (position integer primary key, queue text, id text, message blob);
create unique index if not exists message on messages (queue, id);
create table if not exists services (name text primary key, state blob) without rowid;
"""


@dataclass(slots=True)
class Changes:
    """Since the last write. `places` are tables and queues as the engine names them; a value of `None` was deleted."""

    items: dict[tuple[str, str, str], bytes | None] = field(default_factory=dict)
    records: list[tuple[str, str, bytes]] = field(default_factory=list)
    messages: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    services: dict[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.items or self.records or self.messages or self.services)


class Journal:
    """The open file. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._connection = _open(path)
        self._connection.execute(f"pragma wal_autocheckpoint = {_LARGEST_LOG}")
        self._written = threading.Event()
        self._closed = threading.Event()
        self._checkpoints = threading.Thread(target=self._make_checkpoints, name="checkpoints", daemon=True)
        self._checkpoints.start()

    def write(self, changes: Changes) -> None:
        """All or nothing. `sqlite3.Error` when the disk is full or the file cannot be written."""
        with self._lock, self._connection as connection:
            connection.execute("begin immediate")
            _write_items(connection, changes)
            connection.executemany("insert or replace into records values (?, ?, ?)", changes.records)
            _write_messages(connection, changes)
            connection.executemany("insert or replace into services values (?, ?)", changes.services.items())
        self._written.set()

    def items(self) -> Iterator[tuple[str, str, str, bytes]]:
        """(place, pk, sk, item), by place and key."""
        yield from self._connection.execute("select place, pk, sk, item from items")

    def records(self) -> Iterator[tuple[str, bytes]]:
        """(place, record), in the order of their numbers."""
        yield from self._connection.execute("select place, record from records order by place, number")

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """(queue, message), in the order of sending."""
        yield from self._connection.execute("select queue, message from messages order by position")

    def service(self, name: str) -> bytes | None:
        """The rest of a service's state, as it was when it last changed."""
        found = self._connection.execute("select state from services where name = ?", (name,)).fetchone()
        return bytes(found[0]) if found else None

    def forget_tables(self, *, kept: Iterable[str], records_before: str) -> None:
        """Removes what belongs to no table of `kept`, and stream records with a smaller number."""
        with self._lock, self._connection as connection:
            connection.execute("begin immediate")
            _keep_places(connection, kept)
            connection.execute("delete from items where place not in (select place from kept)")
            connection.execute(
                "delete from records where place not in (select place from kept) or number < ?", (records_before,)
            )

    def forget_queues(self, *, kept: Iterable[str]) -> None:
        """Removes the messages of every other queue."""
        with self._lock, self._connection as connection:
            connection.execute("begin immediate")
            _keep_places(connection, kept)
            connection.execute("delete from messages where queue not in (select place from kept)")

    def close(self) -> None:
        """Folds the write-ahead log into the file."""
        self._closed.set()
        self._written.set()
        self._checkpoints.join()
        with self._lock:
            self._connection.close()

    def _make_checkpoints(self) -> None:
        """Soon after each write, beside the next ones. On a full disk the writer is who says it."""
        while self._written.wait() and not self._closed.wait(CHECKPOINT_SECONDS):
            self._written.clear()
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self._path)) as connection:
                connection.execute("pragma wal_checkpoint(passive)")


def check(data: Path) -> bool:
    """Whether the folder has a journal. `Misconfigured` in one sentence when it is damaged or cannot be written."""
    path = data / FILE
    existed = path.exists()
    try:
        connection = _open(path)
        found = connection.execute("pragma quick_check(1)").fetchone()[0]
        connection.close()
    except sqlite3.DatabaseError as error:
        raise _unusable(path, error) from error
    if found != "ok":
        raise _unusable(path, sqlite3.DatabaseError("malformed"))
    return existed


def _unusable(path: Path, error: sqlite3.Error) -> Misconfigured:
    if isinstance(error, sqlite3.OperationalError):
        return Misconfigured(f"{path} cannot be written ({error}); free space on its disk, then start again")
    return Misconfigured(
        f"{path} is damaged; move it away, start again with the same folder, and run `nilometer rebuild` to bring the "
        "records back from the lake"
    )


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.executescript(_TABLES)
    return connection


def _write_items(connection: sqlite3.Connection, changes: Changes) -> None:
    put = [(*key, item) for key, item in changes.items.items() if item is not None]
    gone = [key for key, item in changes.items.items() if item is None]
    connection.executemany("insert or replace into items values (?, ?, ?, ?)", put)
    connection.executemany("delete from items where place = ? and pk = ? and sk = ?", gone)


def _write_messages(connection: sqlite3.Connection, changes: Changes) -> None:
    put = [(*key, message) for key, message in changes.messages.items() if message is not None]
    gone = [key for key, message in changes.messages.items() if message is None]
    connection.executemany("insert or ignore into messages (queue, id, message) values (?, ?, ?)", put)
    connection.executemany("delete from messages where queue = ? and id = ?", gone)


def _keep_places(connection: sqlite3.Connection, kept: Iterable[str]) -> None:
    connection.execute("create temp table if not exists kept (place text primary key)")
    connection.execute("delete from kept")
    connection.executemany("insert or ignore into kept values (?)", ((place,) for place in kept))

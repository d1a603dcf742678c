"""Who commits second: what he learns from the commit that came first, and what he does."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError
from tests.support.lake.build import NOW, append, ask, usage, version

from nilometer.domain.lake.tables import USAGE
from nilometer.errors import Misconfigured
from nilometer.lake.tables import entries
from nilometer.lake.tables.files import FilesOnDisk
from nilometer.lake.write import append as append_module
from nilometer.lake.write import staged
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode, to_arrow


@pytest.mark.parametrize("most", [0, 9], ids=["by reading its rows", "by what its commit says"])
def test_after_a_lost_race_the_commit_alone_is_repeated(lake: Lake, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Somebody else adds other rows of the same seconds first, twice: our file is written once, and lands."""
    monkeypatch.setattr(staged, "MOST_KEYS", most)
    append(lake, USAGE, usage("e0"))
    asked = _overtake(monkeypatch, *(partial(append, lake, USAGE, usage(other)) for other in ("o1", "o2")))

    appended = append(lake, USAGE, usage("e1"), usage("e2"))

    assert (appended.attempts, appended.new, appended.version) == (1, range(2), 4)
    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(5, 5)]
    assert len(list(Path(lake.uri, "usage").rglob("*.parquet"))) == version(lake, USAGE) == 4
    assert len(asked) == (0 if most else 2)


def test_keys_that_only_look_alike_are_compared(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit says of its keys is a hint: where it meets ours, its rows are read, and ours land at once."""
    monkeypatch.setattr(entries.zlib, "crc32", lambda _: 7)
    monkeypatch.setattr(entries.zlib, "adler32", lambda _: 7)
    append(lake, USAGE, usage("e0"))
    asked = _overtake(monkeypatch, partial(append, lake, USAGE, usage("other")))

    appended = append(lake, USAGE, usage("e1"))

    assert (appended.attempts, appended.new, len(asked)) == (1, range(1), 1)
    assert ask(lake, "select count(*) from usage") == [(3,)]


def test_a_commit_of_delta_itself_is_compared(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an older version of ours writes: it says no keys, and has one of ours, so only the other row lands."""
    append(lake, USAGE, usage("e0"))

    def older() -> None:
        rows = to_arrow(USAGE, decode(USAGE, json.dumps([usage("e1")]).encode()), recorded_at=NOW)
        day = CommitProperties(app_transactions=[Transaction("dedupe:2026-11-23", 1)])
        write_deltalake(f"{lake.uri}/usage", rows, mode="append", commit_properties=day)

    _overtake(monkeypatch, older)

    appended = append(lake, USAGE, usage("e1"), usage("e2"))

    assert (appended.attempts, appended.new) == (2, [1])
    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(3, 3)]


def test_a_delta_writer_from_an_older_snapshot_is_refused(lake: Lake) -> None:
    """Of ours: it met a commit of its day that was not there when it read the keys."""
    append(lake, USAGE, usage("e0"))
    older = DeltaTable(f"{lake.uri}/usage")
    append(lake, USAGE, usage("e1"))
    rows = to_arrow(USAGE, decode(USAGE, json.dumps([usage("e1")]).encode()), recorded_at=NOW)
    day = CommitProperties(app_transactions=[Transaction("dedupe:2026-11-23", 1)])

    with pytest.raises(CommitFailedError, match="Concurrent transaction"):
        write_deltalake(older, rows, mode="append", commit_properties=day)


def test_a_change_of_the_table_begins_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema or a property that came since may forbid what was written: the next attempt follows it."""
    append(lake, USAGE, usage("e0"))
    table = DeltaTable(f"{lake.uri}/usage")
    _overtake(monkeypatch, lambda: table.alter.set_table_properties({"delta.appendOnly": "true"}))

    appended = append(lake, USAGE, usage("e1"))

    assert (appended.attempts, appended.version) == (2, 3)


def test_our_own_commit_is_known_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer was lost, the client asked again, and heard that it was there: one attempt, one version."""
    append(lake, USAGE, usage("e0"))
    create = FilesOnDisk.create

    def asked_twice(self: FilesOnDisk, uri: str, content: bytes) -> bool:
        create(self, uri, content)
        return create(self, uri, content)

    monkeypatch.setattr(FilesOnDisk, "create", asked_twice)

    appended = append(lake, USAGE, usage("e1"))

    assert (appended.attempts, appended.version, version(lake, USAGE)) == (1, 2, 2)


def test_checkpoints_come_as_delta_makes_them(lake: Lake) -> None:
    """Every ten versions, or opening the table would read its whole log."""
    for number in range(20):
        append(lake, USAGE, usage(f"e{number}"))

    log = Path(lake.uri, "usage", "_delta_log")
    assert sorted(int(path.name[:20]) for path in log.glob("*.checkpoint.parquet")) == [9, 19]
    assert not list(log.glob("*.tmp"))


def test_a_lake_elsewhere_needs_its_files() -> None:
    """A misconfigured writer says so at once, and does not try until its time is over."""
    with pytest.raises(Misconfigured, match="is on no disk"):
        FilesOnDisk().create("s3://bucket/lake/usage", b"")


def _overtake(monkeypatch: pytest.MonkeyPatch, *others: Callable[[], object]) -> list[bool]:
    """Each of `others` commits once, right before the next commit; fills the answer with what is read of their rows."""
    commit, have_none, waiting, asked = FilesOnDisk.create, append_module._Newcomers.have_none, list(others), []

    def overtaken(self: FilesOnDisk, uri: str, content: bytes) -> bool:
        if waiting:
            other = waiting.pop(0)
            with monkeypatch.context() as patched:
                patched.setattr(FilesOnDisk, "create", commit)
                other()
        return commit(self, uri, content)

    def counted(self: Any) -> bool:
        asked.append(have_none(self))
        return asked[-1]

    monkeypatch.setattr(FilesOnDisk, "create", overtaken)
    monkeypatch.setattr(append_module._Newcomers, "have_none", counted)
    return asked

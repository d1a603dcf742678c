"""A table that stays open between two batches is the newest of its place, whatever happened there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, Field
from tests.support.lake.build import append, ask, usage

from nilometer.domain.lake.tables import AUDIT, USAGE
from nilometer.lake.tables import kept
from nilometer.lake.tables.files import FilesOnDisk
from nilometer.lake.write import staged
from nilometer.lake.write.append import Lake


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills itself with the tables that are opened from the beginning of their log."""
    names, really = [], kept.open_or_create

    def counted(lake_uri: str, table: Any, options: dict[str, str]) -> Any:
        names.append(table.name)
        return really(lake_uri, table, options)

    monkeypatch.setattr(kept, "open_or_create", counted)
    return names


def test_a_table_is_opened_once(lake: Lake, opened: list[str]) -> None:
    """Also after a batch that added nothing, and with what another process has added since."""
    append(lake, USAGE, usage("e1"))
    append(lake, USAGE, usage("e1"))
    _as_another_process(lake, "e2")

    appended = append(lake, USAGE, usage("e2"), usage("e3"))

    assert (appended.new, appended.version) == ([1], 3)
    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(3, 3)]
    assert opened == ["usage", "usage"]


@pytest.fixture
def updated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills itself with the versions that delta-rs was asked to go on from."""
    versions, really = [], kept._update

    def counted(snapshot: DeltaTable) -> DeltaTable:
        versions.append(snapshot.version())
        return really(snapshot)

    monkeypatch.setattr(kept, "_update", counted)
    return versions


def test_what_others_added_is_read_from_the_log(lake: Lake, updated: list[int]) -> None:
    """Delta-rs is asked only where a key may be there already: of an own commit or of another one."""
    append(lake, USAGE, usage("e1"))
    _as_another_process(lake, "o1")
    _as_another_process(lake, "o2")
    assert append(lake, USAGE, usage("e2")).version == 4
    assert updated == []

    assert append(lake, USAGE, usage("o2"), usage("e2"), usage("e3")).new == [2]
    assert updated == [0]


@pytest.mark.parametrize("others", [kept.MOST_COMMITS - 1, kept.MOST_COMMITS, 3 * kept.MOST_COMMITS])
def test_many_commits_are_left_to_delta(lake: Lake, updated: list[int], others: int) -> None:
    """A process that was idle for a while reads few entries of the log by itself."""
    append(lake, USAGE, usage("e1"))
    _as_another_process(lake, *(f"o{number}" for number in range(others)))
    updated.clear()

    appended = append(lake, USAGE, usage("e2"), usage(f"o{others - 1}"))

    assert (list(appended.new), appended.attempts) == ([0], 1)
    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(others + 2,) * 2]


def test_files_that_were_replaced_are_left_alone(lake: Lake, updated: list[int]) -> None:
    """Another process compacted the table, and removed the files that this one knew."""
    for number in range(3):
        append(lake, USAGE, usage(f"e{number}"))
    table = DeltaTable(f"{lake.uri}/usage")
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)

    appended = append(lake, USAGE, usage("e1"), usage("e3"))

    assert (list(appended.new), appended.attempts) == ([1], 1)
    assert updated


def test_an_entry_of_an_older_version_says_no_keys(lake: Lake, updated: list[int]) -> None:
    """Its fingerprints have another length, so the rows themselves are compared."""
    append(lake, USAGE, usage("e1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged, "KEYS", "nilometer.keys")
        _as_another_process(lake, "o1")

    assert append(lake, USAGE, usage("o1"), usage("e2")).new == [1]
    assert updated


def test_tables_do_not_meet(lake: Lake, tmp_path: Path) -> None:
    """Of one name in two lakes."""
    other = Lake(uri=str(tmp_path / "other"), storage_options={})

    assert [len(append(place, USAGE, usage("e1")).new) for place in (lake, other, lake, other)] == [1, 1, 0, 0]


@pytest.mark.parametrize("versions", [1, 2, 3])
def test_a_table_that_was_made_again_is_another_one(lake: Lake, versions: int) -> None:
    """With fewer versions, as many, or more: what was in the first one is not in it."""
    append(lake, USAGE, usage("e1"))
    append(lake, USAGE, usage("e2"))
    shutil.rmtree(Path(lake.uri, "usage"))
    for number in range(versions):
        _as_another_process(lake, f"o{number}")

    assert append(lake, USAGE, usage("e1"), usage("e2")).new == range(2)
    assert ask(lake, "select count(*), count(distinct event_id) from usage") == [(versions + 2, versions + 2)]


def test_what_fails_opens_it_again(lake: Lake, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was, and whatever it had read by then."""
    append(lake, USAGE, usage("e1"))
    create, failed = FilesOnDisk.create, list[str]()

    def fail_once(self: FilesOnDisk, uri: str, content: bytes) -> bool:
        if not failed:
            failed.append(uri)
            raise OSError("the storage did not answer")
        return create(self, uri, content)

    monkeypatch.setattr(FilesOnDisk, "create", fail_once)

    assert append(lake, USAGE, usage("e2")).attempts == 2
    assert opened == ["usage", "usage"]


def test_few_are_kept(lake: Lake, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a process would hold the state of each table that it ever saw."""
    monkeypatch.setattr(kept, "MOST", 1)
    monkeypatch.setattr(kept, "_kept", {})
    for _ in range(2):
        append(lake, USAGE, usage("e1"))
        kept.keep(lake.uri, AUDIT, {}, kept.OpenTable(kept.open_or_create(lake.uri, AUDIT, {}), 0, b""))

    assert len(kept._kept) == 1
    assert opened.count("usage") == 2


def test_a_column_that_came_since_is_seen(lake: Lake, opened: list[str]) -> None:
    """A newer version of ours added it: the rows of this one have null there."""
    append(lake, USAGE, usage("e1"))
    DeltaTable(f"{lake.uri}/usage").alter.add_columns([Field("newer", "string")])

    append(lake, USAGE, usage("e2"))

    assert DeltaTable(f"{lake.uri}/usage").to_pyarrow_table()["newer"].to_pylist() == [None, None]
    assert opened == ["usage"]


def _as_another_process(lake: Lake, *ids: str) -> None:
    """Which keeps nothing open that this one has; a commit for each id."""
    ours = dict(kept._kept)
    kept._kept.clear()
    for id_ in ids:
        append(lake, USAGE, usage(id_))
    kept._kept.clear()
    kept._kept.update(ours)

"""Which keys a snapshot holds is one answer, whichever way it is found."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.lake.build import DAY, NOW, START, usage

from nilometer.domain.lake.tables import USAGE
from nilometer.lake.tables import entries
from nilometer.lake.tables.entries import ReadEntries, entry_uri
from nilometer.lake.tables.files import FilesOnDisk
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write import known, remembered
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode, identities

IDS = ["e1", "e2", "it's", 'quo"te', "nul\x00", "ünïcode\U0001f600", "'); DROP TABLE stored; --", "%s"]
SECONDS = [START, START + 1, START + 9, START - DAY]
Key = tuple[str, str, int]
_keys = st.lists(
    st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from(IDS), st.sampled_from(SECONDS)),
    min_size=1,
    max_size=8,
    unique_by=lambda key: key[:2],
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    _keys,
    st.lists(_keys, min_size=1, max_size=3),
    st.sampled_from([(0, 1), (6, 1), (100, 1), (100, 100)]),
    st.sampled_from([0, 2, 100]),
    st.booleans(),
)
def test_a_search_finds_what_a_comparison_finds(
    monkeypatch: pytest.MonkeyPatch,
    stored: list[Key],
    batches: list[list[Key]],
    memory: tuple[int, int],
    listed: int,
    ours: bool,
) -> None:
    """Over several commits and days, with any text in a key: what has key and second in common, and nothing else. It
    does not matter how much is remembered, for how long, who wrote it, and whether it is still in the table."""
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        patch.setattr(remembered, "MOST", memory[0])
        patch.setattr(remembered, "READ_AT_ONCE", memory[1])
        patch.setattr(known, "_LISTED", listed)
        versions = [_append(folder, stored[nth::3], nth, ours=ours) for nth in range(3) if stored[nth::3]]
        for version in (*versions, versions[0]):  # as after a restore
            snapshot = open_or_create(folder, USAGE, {})
            snapshot.load_as_version(version)
            held = {key for nth in range(versions.index(version) + 1) for key in stored[nth::3]}
            for asked in batches:
                compared, searched = _stored(snapshot, asked, FEW=known.FEW), _stored(snapshot, asked, FEW=-1)
                assert _identities(held & {*asked}) <= compared == searched


def test_a_process_reads_the_ids_of_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second batch only what came since is read."""
    reads = _count_reads(monkeypatch)
    for nth in range(3):
        _append(str(tmp_path), [("/a", f"e{nth}-{n}", START + n) for n in range(20)], nth)
        snapshot = open_or_create(str(tmp_path), USAGE, {})
        assert _stored(snapshot, [("/a", f"x{n}", START + n) for n in range(20)], FEW=-1, log=False) == set()
    assert reads == [20, 20, 20]


def test_a_process_reads_nothing_that_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And finds what is in it."""
    reads, keys = _count_reads(monkeypatch), [("/a", f"e{n}", START + n) for n in range(20)]
    _append(str(tmp_path), keys, 0, ours=True)
    snapshot = open_or_create(str(tmp_path), USAGE, {})
    assert _stored(snapshot, [("/a", f"x{n}", START + n) for n in range(20)], FEW=-1) == set()
    assert _stored(snapshot, keys[:5], FEW=-1) == _identities({*keys[:5]})
    assert reads == []


@pytest.mark.parametrize("alike", [False, True])
def test_of_others_the_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: bool) -> None:
    """Since the last batch, once; a file only where its entry says a key that looks like ours."""
    if alike:
        monkeypatch.setattr(entries.zlib, "crc32", lambda _: 7)
    reads, lake, entry = _count_reads(monkeypatch), str(tmp_path), _count_entries(monkeypatch)
    _append(lake, [("/a", "first", START), ("/a", "second", START)], 0, ours=True)
    for nth in range(1, 4):
        _append(lake, [("/a", f"e{nth}-{n}", START + n) for n in range(20)], nth)
    snapshot = open_or_create(lake, USAGE, {})
    entry.clear()
    for _ in range(2):
        assert _stored(snapshot, [("/a", f"x{n}", START + n) for n in range(20)], FEW=-1) == set()
    assert _stored(snapshot, [("/a", "e2-3", START + 3)], FEW=-1) == _identities({("/a", "e2-3", START + 3)})
    assert entry == [3]
    assert reads == ([60] if alike else [])


def test_a_file_is_read_whatever_the_seconds_of_the_batch_are(tmp_path: Path) -> None:
    """Its other ids are asked for later, when it is not read again."""
    keys = [("/a", f"e{n}", START + n) for n in range(10)]
    _append(str(tmp_path), keys, 0)
    snapshot = open_or_create(str(tmp_path), USAGE, {})
    for some in (keys[:8], keys[2:]):
        assert _stored(snapshot, some, FEW=-1) == _identities(set(some))


def test_half_a_reading_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that fails in the middle says nothing of its file: what is in it is found afterwards."""
    keys = [("/a", f"e{n}", START + n) for n in range(20)]
    _append(str(tmp_path), keys, 0)
    snapshot = open_or_create(str(tmp_path), USAGE, {})

    def fail(*_: object) -> Iterator[Iterable[str]]:
        yield ["e0"]
        raise OSError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(known._Search, "_read", fail)
        with pytest.raises(OSError, match="the store is away"):
            _stored(snapshot, keys, FEW=-1)
    assert _stored(snapshot, keys, FEW=-1) == _identities(set(keys))


@pytest.mark.parametrize("at_once", [1, 30])
def test_what_is_remembered_stays_below_its_bound(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """When it is full it begins again, and answers as before: which ids may be stored, and where."""
    monkeypatch.setattr(remembered, "MOST", 100)
    monkeypatch.setattr(remembered, "READ_AT_ONCE", at_once)
    monkeypatch.setattr(remembered, "_prints", {})
    for nth in range(10):
        files = {("lake", "event_id", f"file {n}"): 15 for n in range(nth, nth + 3)}
        held = {f"{name} {n}" for _, _, name in files for n in range(15)}
        ids, holders = remembered.possible(files, {*held, "another"}, _read)
        assert (ids, holders) == (held, set(files))
        assert sum(map(len, set(remembered._prints.values()))) <= 100
        ids, holders = remembered.possible(files, {f"file {nth} 1", "another"}, _read)
        assert ids == {f"file {nth} 1"}
        assert ("lake", "event_id", f"file {nth}") in holders
        assert len(holders) <= at_once // 15 + 1


def test_of_too_many_ids_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would leave the memory before they are asked for again."""
    monkeypatch.setattr(remembered, "MOST", 100)
    files = {("lake", "event_id", f"file {n}"): 17 for n in range(3)}
    assert remembered.possible(files, {"another"}, pytest.fail) == ({"another"}, files.keys())  # type: ignore[arg-type]


def test_a_reading_that_brings_many_others_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files that were recorded at the same time each reading gives the ids of all: none of them is remembered."""
    monkeypatch.setattr(remembered, "READ_AT_ONCE", 1_000)
    monkeypatch.setattr(remembered, "_prints", {})
    files = {("lake", "event_id", f"file {n}"): 1_000 for n in range(20)}
    everything = [[f"{name} {n}" for n in range(1_000)] for _, _, name in files]
    assert remembered.possible(files, {"another"}, lambda _: everything) == ({"another"}, files.keys())
    assert remembered._prints == {}


def _read(files: list[remembered.FileId]) -> list[list[str]]:
    return [[f"{name} {n}" for n in range(15)] for _, _, name in files]


def _append(folder: str, keys: list[Key], nth: int, *, ours: bool = False) -> int:
    """By this process, or by another one, of which this one knows nothing."""
    rows, lake = decode(USAGE, _json(keys)), Lake(uri=folder, storage_options={})
    memory = (remembered._prints, remembered._said, remembered._logs)
    before = deepcopy(memory)
    recorded_at, deadline = NOW + timedelta(seconds=nth), time.monotonic() + 30
    version = lake.append(USAGE, rows, recorded_at=recorded_at, deadline=deadline).version
    for dictionary, was in [] if ours else zip(memory, before, strict=True):
        dictionary.clear()
        dictionary.update(was)  # type: ignore[arg-type]  # of its own kind
    return version


def _stored(
    snapshot: DeltaTable,
    asked: list[Key],
    *,
    FEW: int,  # noqa: N803  # the name of the constant
    log: bool = True,
) -> set[str]:
    rows = decode(USAGE, _json(asked))
    keys = set(identities(rows.key))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "FEW", FEW)
        return known.stored_keys(snapshot, USAGE, rows, lambda: keys, entries=_entries_of(snapshot) if log else None)


def _entries_of(snapshot: DeltaTable) -> ReadEntries:
    folder = snapshot.table_uri.removeprefix("file://").rstrip("/")
    return lambda versions: FilesOnDisk().read_all([entry_uri(folder, version) for version in versions])


def _identities(keys: set[Key]) -> set[str]:
    return set(identities(list(zip(*(key[:2] for key in keys), strict=True)) or [[], []]))


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ids each reading gave."""
    reads, read = [], known._Search._read

    def counted(*arguments: object) -> Iterator[Iterable[str]]:
        values = [list(some) for some in read(*arguments)]  # type: ignore[arg-type]
        reads.append(sum(map(len, values)))
        yield from values

    monkeypatch.setattr(known._Search, "_read", counted)
    return reads


def _count_entries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries of the log each reading asked for."""
    reads, read = list[int](), FilesOnDisk.read_all

    def counted(self: FilesOnDisk, uris: list[str]) -> list[bytes | None]:
        reads.append(len(uris))
        return read(self, uris)

    monkeypatch.setattr(FilesOnDisk, "read_all", counted)
    return reads


def _json(keys: list[Key]) -> bytes:
    return json.dumps([usage(id_, source=source, created=created) for source, id_, created in keys]).encode()

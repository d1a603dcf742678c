"""Which keys a snapshot holds is one answer, whichever way it is found."""

from __future__ import annotations

import json
import tempfile
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.lake.build import DAY, NOW, START, usage

from nilometer.domain.lake.tables import USAGE
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write import known
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode, identities

IDS = ["e1", "e2", "it's", 'quo"te', "nul\x00", "ünïcode\U0001f600", "'); DROP TABLE stored; --", "%s"]
Key = tuple[str, str, int]
_keys = st.lists(
    st.tuples(st.sampled_from(["/a", "/b"]), st.sampled_from(IDS), st.sampled_from([START, START + 9, START - DAY])),
    min_size=1,
    max_size=8,
    unique_by=lambda key: key[:2],
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(_keys, _keys)
def test_a_join_finds_what_a_comparison_finds(
    monkeypatch: pytest.MonkeyPatch, stored: list[Key], asked: list[Key]
) -> None:
    """Over several commits and days, with any text in a key: what has key and second in common, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(uri=folder, storage_options={})
        for half in (stored[::2], stored[1::2]):
            lake.append(USAGE, decode(USAGE, _json(half)), recorded_at=NOW, deadline=time.monotonic() + 30)
        snapshot, rows = open_or_create(folder, USAGE, {}), decode(USAGE, _json(asked))
        keys = set(identities(rows.key))

        compared = known.stored_keys(snapshot, USAGE, rows, lambda: keys)
        monkeypatch.setattr(known, "FEW", -1)
        joined = known.stored_keys(snapshot, USAGE, rows, lambda: keys)
        monkeypatch.undo()

    expected = set(identities(list(zip(*(key[:2] for key in {*stored} & {*asked}), strict=True)) or [[], []]))
    assert expected <= compared == joined


def _json(keys: list[Key]) -> bytes:
    return json.dumps([usage(id_, source=source, created=created) for source, id_, created in keys]).encode()

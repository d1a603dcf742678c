"""A table that is not as it was declared is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from nilometer.domain.lake.tables import TABLES, USAGE
from nilometer.domain.lake.tables import DeltaTable as Declared
from nilometer.lake.tables.tables import open_or_create
from nilometer.lake.write.soundness import Soundness, examine


def seen(folder: Path, table: Declared = USAGE) -> Soundness:
    return examine(table, lake_uri=str(folder), storage_options={})


def test_nothing_written_yet_is_sound(tmp_path: Path) -> None:
    """The first append creates it."""
    assert seen(tmp_path) == Soundness(name="usage", version=None)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_we_create_is_sound(tmp_path: Path, table: Declared) -> None:
    """Every declared type comes back as it is declared."""
    open_or_create(str(tmp_path), table, {})

    assert seen(tmp_path, table) == Soundness(name=table.name, version=0)


def test_columns_of_other_versions_are_told_apart(tmp_path: Path) -> None:
    """One that is older lacks some, one that is newer has some more."""
    older = replace(USAGE, columns=USAGE.columns[:-1])
    open_or_create(str(tmp_path), older, {})

    assert seen(tmp_path).missing == (USAGE.columns[-1].name,)
    open_or_create(str(tmp_path), USAGE, {})
    assert seen(tmp_path, older).strange == (USAGE.columns[-1].name,)


def test_a_foreign_table_is_told(tmp_path: Path) -> None:
    """Another type, a lifted reader version, and rows that may be changed."""
    schema = pa.schema([("quantity", pa.float64()), ("time", pa.timestamp("us"))])
    DeltaTable.create(str(tmp_path / "usage"), schema)

    found = seen(tmp_path)

    assert found.retyped == ("quantity", "time")
    assert (found.reader_version, found.features) == (3, ("timestampNtz",))
    assert found.append_only is False

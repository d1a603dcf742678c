"""The guide says what the code declares."""

from __future__ import annotations

from pathlib import Path

from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.lake.read.guide import generated
from nilometer.lake.read.recipes import RECIPES


def test_the_guide_is_current(project: Path) -> None:
    """Else run `python -m nilometer.lake.read.guide docs/lake.md`."""
    text = (project / "docs" / "lake.md").read_text()

    assert generated(text) == text


def test_the_guide_names_everything(project: Path) -> None:
    text = (project / "docs" / "lake.md").read_text()

    names = [f"`{column.name}`" for table in ALL_TABLES.values() for column in table.columns]
    assert [name for name in (*names, *(f"`{name}`" for name in RECIPES)) if name not in text] == []

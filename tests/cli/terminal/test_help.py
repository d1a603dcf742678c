"""Golden files: the help of every command, at 80 and at 120 columns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.command_line import leaves

GOLDEN = Path(__file__).parent / "golden"
GROUPS = sorted({path[:at] for path in leaves() for at in range(len(path))})


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_of_every_command_is_as_it_was_agreed(alone: Any, width: int) -> None:
    """A change shows in review; `UPDATE_GOLDEN=1 pytest tests/cli/terminal` writes the files again."""
    golden = GOLDEN / f"help-{width}.txt"
    shown = "".join(
        f"$ nilometer {' '.join((*path, '--help'))}\n{alone(*path, '--help', env={'COLUMNS': str(width)}).out}\n"
        for path in [*GROUPS, *sorted(leaves())]
    )
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)

    assert shown == golden.read_text()


def test_what_must_be_said_is_asked_for_by_name(alone: Any) -> None:
    """A deed's field without a default is missed before anything is asked of a stack."""
    answer = alone("meter", "create", "api_calls", "--unit", "call")

    assert answer.code == 2
    assert "Missing option '--aggregation'" in answer.err

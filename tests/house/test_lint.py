"""Lint, types and architecture, as tests, so that one command judges all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
}


@pytest.mark.parametrize("command", TOOLS.values(), ids=TOOLS)
def test_the_house_is_in_order(project: Path, command: list[str]) -> None:
    """Nothing to say about style, types, or the direction of imports."""
    tool, *arguments = command
    done = subprocess.run(
        [str(Path(sys.executable).with_name(tool)), *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_ignore_in_the_code_has_a_reason(project: Path) -> None:
    """A silenced rule says why: `# noqa: CODE  # because ...`."""
    silent = [
        f"{path.relative_to(project)}:{number}"
        for path in sorted((project / "src").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for mark in ("# noqa:", "# type: ignore")
        if mark in line and "# " not in line.rpartition(mark)[2]
    ]

    assert silent == []


def test_every_module_says_what_lives_in_it(project: Path) -> None:
    """The first line of a file is a sentence."""
    mute = [
        str(path.relative_to(project))
        for folder in ("src", "tests")
        for path in sorted((project / folder).rglob("*.py"))
        if not path.read_text().startswith('"""')
    ]

    assert mute == []

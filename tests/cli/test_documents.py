"""The examples of the documents that say `<!-- runs -->`, typed as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import ROOT

RUNS = {
    path: "\n".join(blocks)
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if (blocks := re.findall(r"^<!-- runs -->\n```sh\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL))
}


@pytest.mark.parametrize("document", RUNS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_shows_works(alone: Any, document: Path) -> None:
    """On a fresh stack, from top to bottom; the first command that fails is named."""
    running = alone.local()
    try:
        done = subprocess.run(
            ["/bin/bash", "-euxo", "pipefail", "-c", RUNS[document]],
            cwd=ROOT,
            env={**alone.environment, "PATH": f"{Path(sys.prefix, 'bin')}:{alone.environment['PATH']}"},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    finally:
        running.stop()

    assert done.returncode == 0, done.stderr[-2000:]


def test_the_readme_runs() -> None:
    """A newcomer's first commands."""
    assert ROOT / "README.md" in RUNS

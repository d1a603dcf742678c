"""The notebooks run from their first cell to their last, and their pictures show something."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.lake.build import DAY, NOW, START, usage
from tests.support.lake.known_company import END
from tests.support.project import ROOT

from nilometer.domain.lake.tables import USAGE
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

PYTHON = ROOT / ".venv/notebooks/bin/python"
SHOWN = {"usage": (1, 0), "mrr": (1, 5), "as_of": (2, 0)}
"""At least so many lines and bars."""


@pytest.fixture(scope="module")
def place(exported: Path) -> Path:
    """The company's lake, with a week of usage."""
    folder = exported.parent / "lake"
    used = [usage(f"u{n}", created=START - n % 7 * DAY, quantity=str(n % 5), dimensions=None) for n in range(60)]
    lake = Lake(uri=str(folder), storage_options={})
    lake.append(USAGE, decode(USAGE, json.dumps(used).encode()), recorded_at=NOW, deadline=time.monotonic() + 30)
    return folder


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs_and_draws(place: Path, tmp_path: Path, name: str) -> None:
    """On the lake of a company of two years; its picture in the docs was drawn so."""
    if not PYTHON.exists():
        pytest.skip("no .venv/notebooks: `make test` installs it")
    where = {"NILOMETER_LAKE": str(place), "NILOMETER_LAST_DAY": (END - timedelta(days=1)).date().isoformat()}
    picture = Path(os.environ.get("NOTEBOOK_PICTURES", tmp_path)) / f"notebook-{name.replace('_', '-')}.svg"
    done = subprocess.run(
        [PYTHON, ROOT / "tests/support/lake/warehouse/notebook.py", ROOT / f"notebooks/{name}.py", picture],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **where, "PYTHONPATH": str(ROOT / "src"), "MPLCONFIGDIR": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr
    drawn = json.loads(done.stdout.splitlines()[-1])
    assert (drawn["lines"], drawn["bars"]) >= SHOWN[name]
    assert (ROOT / "docs/pictures" / picture.name).exists()
    assert "</svg>" in picture.read_text()

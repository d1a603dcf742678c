"""dbt in its own venv, on a DuckDB file."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.support.project import ROOT

DBT = ROOT / ".venv/dbt/bin/dbt"


def build(project: Path, file: Path, **variables: object) -> int:
    """`dbt build` of a project as it is; what dbt writes lies beside the file, compiled SQL below `target/compiled`."""
    profile = {"type": "duckdb", "path": str(file), "threads": 2}
    profiles = {"nilometer": {"target": "duckdb", "outputs": {"duckdb": profile}}}
    (file.parent / "profiles.yml").write_text(json.dumps(profiles))
    options: dict[str, object] = {
        "--project-dir": project,
        "--profiles-dir": file.parent,
        "--profile": "nilometer",
        "--target-path": file.parent / "target",
        "--log-path": file.parent / "logs",
        "--vars": json.dumps(variables),
    }
    done = subprocess.run(
        [DBT, "build", "--no-use-colors", *(str(one) for option in options.items() for one in option)],
        # Not the machine's zone: figures are of UTC everywhere.
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "TZ": "America/Los_Angeles"},
        check=False,
    )
    return done.returncode

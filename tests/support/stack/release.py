"""The release before this one, taken from the history, so that an upgrade is tried with what it wrote."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.support.project import ROOT

RELEASED = "632d3649dd7931bb87375c9abd08daa37147feb8"
"""The commit of the last release; docs/upgrade.md says when it changes."""
_FUNCTION = re.compile(
    r"^(  (\w+Function):\n    Type: AWS::Serverless::Function\n(?:    .*\n)*?    Properties:\n)", re.MULTILINE
)


def built_before(build: Path, into: Path) -> Path:
    """As `sam build` would have left it: the template with a folder a function, its code beside today's libraries."""
    _checked_out(into / "source")
    template = (into / "source/template.yaml").read_text()
    for _, name in _FUNCTION.findall(template):
        shutil.copytree(build / name, into / name, copy_function=os.link, ignore=shutil.ignore_patterns("nilometer"))
        shutil.copytree(into / "source/src/nilometer", into / name / "nilometer")
    (into / "template.yaml").write_text(_FUNCTION.sub(rf"\g<1>      CodeUri: {into}/\g<2>\n", template))
    return into


def _checked_out(into: Path) -> None:
    """Skips where the history does not reach so far back."""
    git = ("git", "-C", str(ROOT))
    if subprocess.run([*git, "cat-file", "-e", f"{RELEASED}^{{commit}}"], capture_output=True, check=False).returncode:
        pytest.skip(f"this is a shallow clone without {RELEASED}; git fetch --unshallow")
    into.mkdir(parents=True)
    kept = into / "release.tar"
    subprocess.run([*git, "archive", "--output", str(kept), RELEASED, "template.yaml", "src/nilometer"], check=True)
    with tarfile.open(kept) as sources:
        sources.extractall(into, filter="data")

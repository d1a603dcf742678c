"""The documentation as pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest
from tests.support.command_line import leaves
from tests.support.project import EVENTS, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Path and text of every page, from a build in which a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.html")}


def test_every_page_of_docs_is_in_the_site(site: Mapping[str, str]) -> None:
    """Links and anchors between pages hold too: the build is strict."""
    pages = {str(path.relative_to(ROOT / "docs").with_suffix(".html")) for path in (ROOT / "docs").rglob("*.md")}

    assert {page.replace("README", "index") for page in pages} <= site.keys()


def test_every_command_and_every_event_has_a_place(site: Mapping[str, str]) -> None:
    """The reference is made from the code, so nothing is left out; each type of event has a page with a sample."""
    missing = [path for path in leaves() if f">nilometer {' '.join(path)}<" not in site["commands.html"]]
    names = [path.stem for path in (EVENTS / "schemas").glob("*.json")]
    unnamed = [name for name in names if f'href="events/{name}.html"' not in site["events.html"]]
    pages = {name: site[f"events/{name}.html"] for name in names}
    unnamed += [name for name, page in pages.items() if f'id="{anchor(name)}"' not in page or "Sample" not in page]

    assert (missing, unnamed) == ([], [])


def test_no_page_needs_a_network(site: Mapping[str, str]) -> None:
    """No script, style or picture comes from another host."""
    asked = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(https?:[^"]*)')

    assert {page: found for page, text in site.items() if (found := asked.findall(text))} == {}


def anchor(title: str) -> str:
    """How a heading becomes an anchor."""
    return title.replace(".", "").lower()

"""The page on how far a stage scales says what its script computes."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

from tests.support.project import ROOT

SCRIPT = ROOT / "benchmarks/scaling.py"


def test_the_page_holds_the_tables_of_the_script() -> None:
    """When this fails: python benchmarks/scaling.py --write."""
    script = runpy.run_path(str(SCRIPT))
    page = (ROOT / "docs/scaling.md").read_text()

    assert script["with_tables"](page, script["ceilings"](script["deployed"]())) == page


def test_a_larger_template_scales_further() -> None:
    """The ceilings follow concurrency and throttle of the template."""
    script = runpy.run_path(str(SCRIPT))
    text = (ROOT / "template.yaml").read_text()
    larger = text.replace("MaximumConcurrency: 10}", "MaximumConcurrency: 40}").replace("Default: 250", "Default: 9000")
    small, large = (
        {row.part: row.per_second for row in script["ceilings"](script["Deployed"](one)) if row.kind == "stripe"}
        for one in (text, larger)
    )

    assert abs(large["billing"] - 4 * small["billing"]) < 4
    assert (small["HTTP API"], large["HTTP API"]) == (250, 9000)
    assert large["changes"] == small["changes"]


def test_it_prints_each_part_beside_its_goal() -> None:
    printed = subprocess.run([sys.executable, SCRIPT], check=True, capture_output=True, text=True).stdout
    *parts, dollars = map(json.loads, printed.splitlines())

    assert {part["goal"] for part in parts} == {10_000, 100_000}
    assert all(part["per_second"] > 0 and part["lift"] for part in parts)
    assert set(dollars["dollars_an_hour"]) == {"stripe", "usage"}

"""`nilometer demo` tells the truth about itself."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.command_line import KeptDemo

from nilometer.cli import run
from nilometer.local.demo.demo import DemoCheck, DemoReport, FirstRows, Sent


def test_the_demo_passes_its_own_checks(kept_demo: KeptDemo, alone: Any, tmp_path: Path) -> None:
    """Every copy dropped, every total right; the state that it kept can be gone on with."""
    data, answer = shutil.copytree(kept_demo.data, tmp_path / "state"), kept_demo.answer

    report = answer.json
    assert answer.code == 0, report["checks"]
    assert report["passed"] is True
    assert report["stripe"]["duplicates_dropped"] > 30
    assert report["usage"]["duplicates_dropped"] > 400
    assert [table["rows"] for table in report["tables"]][:2] == [
        report["stripe"]["distinct"],
        report["usage"]["distinct"],
    ]

    running = alone.local("--data", str(data))
    listed = alone("billing", "list", "--json").lines
    running.stop()

    assert listed == report["billing"]


def test_a_broken_promise_is_exit_code_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And names what differs."""
    broken = DemoCheck(promise="the counters are right", held=False, detail="3, not 4")
    monkeypatch.setattr(sys.modules["nilometer.local.demo.demo"], "demo", lambda **_: a_report(broken))

    code = run(["demo"])

    assert code == 3
    assert "✗ the counters are right: 3, not 4" in capsys.readouterr().out


def test_the_picture_of_the_demo_is_what_it_printed(project: Path) -> None:
    """With its colours, without the rows of the lake, and without a font of another host; the README shows it."""
    spec = importlib.util.spec_from_file_location("demo_picture", project / "docs/demo_picture.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    printed = "Billing  of each\naswan\nLake  every fact\nevt_1\nA question  in SQL\n\x1b[32mExactly\x1b[0m once\n"
    drawn = module.picture(printed)

    assert all(word in drawn for word in ("nilometer&#160;demo", "aswan", "Exactly"))
    assert not any(word in drawn for word in ("evt_1", "@font-face", "src: "))
    assert "](docs/pictures/demo.svg)" in (project / "README.md").read_text()
    assert "Exactly&#160;once" in module.PICTURE.read_text()


def a_report(check: DemoCheck) -> DemoReport:
    return DemoReport(
        seconds=20,
        start_seconds=4,
        stripe=Sent(deliveries=13, distinct=10),
        usage=Sent(deliveries=13, distinct=10),
        billing=[],
        used=[],
        tables=[],
        samples={},
        question="select 1",
        answer=FirstRows(["n"], [[1]]),
        checks=[check],
    )

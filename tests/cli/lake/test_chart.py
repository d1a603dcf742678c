"""An answer becomes a picture that can be read."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
from PIL import Image

from nilometer.cli.lake.chart import BARS, SERIES, draw

DAYS = [date(2026, 11, 1) + timedelta(day) for day in range(30)]


def texts(svg: Path) -> set[str]:
    """Every text in the picture."""
    found = ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314  # we have written it
    return {"".join(text.itertext()) for text in found}


def test_times_become_a_line_a_name_in_a_png(tmp_path: Path) -> None:
    """With a panel a number; it opens as an image and is not empty."""
    rows = [(name, "call", day, Decimal(day.day), 2 * day.day) for name in ("acme", "globex") for day in DAYS]

    said = draw(("workspace_id", "unit", "day", "quantity", "events"), rows, tmp_path / "usage.png")

    assert said == f"{tmp_path}/usage.png: lines: 2"
    with Image.open(tmp_path / "usage.png") as image:
        image.load()
        assert (image.format, image.width > 1000, image.height > 1000) == ("PNG", True, True)
        assert len(image.convert("RGB").getcolors(2**24) or ()) > 10


def test_a_svg_says_what_it_shows(tmp_path: Path) -> None:
    """Its title, panels and names are text; a dollar is a dollar; what never differs is left out."""
    rows = [(name, "call", day, Decimal(day.day)) for name in ("a$b", "c$d") for day in DAYS]

    draw(("workspace_id", "unit", "day", "quantity"), rows, tmp_path / "usage.svg", title="How much?")

    assert {"How much?", "quantity", "a$b", "c$d"} <= texts(tmp_path / "usage.svg")
    assert not any("call" in text for text in texts(tmp_path / "usage.svg"))


def test_names_become_bars(tmp_path: Path) -> None:
    rows = [("invoice.paid", "webhook", 12_000, None), ("invoice.created", "partner", None, 3.5)]

    said = draw(("type", "source", "events", "share"), rows, tmp_path / "types.svg")

    assert said.endswith("bars: 2")
    assert {"invoice.paid · webhook", "invoice.created · partner", "events", "share"} <= texts(tmp_path / "types.svg")


def test_an_id_names_no_line(tmp_path: Path) -> None:
    """Else every row would be a line of one point."""
    rows = [(f"evt_{n}", datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=n), n) for n in range(50)]

    assert draw(("event_id", "time", "n"), rows, tmp_path / "late.svg").endswith("lines: 1")


def test_too_many_lines_and_bars_are_cut_and_it_is_said(tmp_path: Path) -> None:
    many = [(f"ws_{n}", day, n) for n in range(25) for day in DAYS]

    assert f"lines: {SERIES} of 25" in draw(("workspace_id", "day", "n"), many, tmp_path / "a.svg")
    assert "ws_24" in texts(tmp_path / "a.svg")
    assert f"bars: {BARS} of 750" in draw(("workspace_id", "n"), [(w, n) for w, _, n in many], tmp_path / "b.svg")


@pytest.mark.parametrize(
    ("columns", "rows", "sentence"),
    [
        (("n",), [], "no rows"),
        (("name",), [("a",)], "a column of numbers"),
        (("n",), [(1,)], "times or names"),
        (("name", "n"), [("a", None)], "a column of numbers"),
    ],
    ids=["nothing", "no number", "only a number", "only nulls"],
)
def test_what_cannot_be_drawn_is_a_sentence(tmp_path: Path, columns: Any, rows: Any, sentence: str) -> None:
    with pytest.raises(click.ClickException, match=sentence):
        draw(columns, rows, tmp_path / "none.png")


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="cannot be written"):
        draw(("name", "n"), [("a", 1)], tmp_path / "none" / "a.png")


def test_without_the_extra_it_says_what_to_install() -> None:
    """Before the lake is asked anything, or even looked for."""
    program = "import sys; sys.modules['matplotlib'] = None; from nilometer.cli import run; sys.exit(run(sys.argv[1:]))"
    arguments = ["query", "select 1", "--chart", "a.png"]

    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "Error: --chart needs matplotlib: pip install 'nilometer[chart]'\n"


@pytest.mark.parametrize("arguments", [("--chart", "a.pdf"), ("--chart", "a.png", "--json")])
def test_wrong_usage_is_refused(nilometer: Any, stack: Any, arguments: tuple[str, ...]) -> None:
    assert nilometer("query", "select 1", *arguments).code == 2

"""`nilometer query --chart FILE`: an answer as a picture, PNG or SVG.

A column of times makes lines, one for each combination of the text columns; without one, the text columns name bars.
Every column of numbers gets a panel of its own, because two of them seldom share a scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

SUFFIXES = (".png", ".svg")
PANELS = 4
SERIES = 10  # as many colours can be distinguished
BARS = 40
_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",  # text stays text, to be found and copied
    "text.parse_math": False,  # a dollar sign is one
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What will be drawn: the rows, and which of their columns are what."""

    rows: Sequence[Sequence[Any]]
    columns: Sequence[str]
    time: int | None
    names: tuple[int, ...]
    numbers: tuple[int, ...]

    def label(self, row: Sequence[Any]) -> str:
        """The values of the text columns of a row, for its series."""
        return " · ".join("–" if row[column] is None else str(row[column]) for column in self.names)


def drawable(_context: click.Context, _option: click.Parameter, file: Path | None) -> Path | None:
    """The option's value, refused before anything is asked when there can be no picture."""
    if file and file.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--chart writes PNG or SVG: {file} ends with neither .png nor .svg")
    if file and find_spec("matplotlib") is None:
        raise click.ClickException("--chart needs matplotlib: pip install 'nilometer[chart]'")
    return file


def draw(columns: Sequence[str], rows: Iterable[Sequence[Any]], file: Path, *, title: str = "") -> str:
    """Writes the picture; a sentence about what is on it."""
    from matplotlib import style
    from matplotlib.figure import Figure

    chart = plan(columns, list(rows))
    with style.context(["tableau-colorblind10", _STYLE]):
        figure = Figure()
        if title:
            figure.suptitle(title)
        drawn = _bars(chart, figure) if chart.time is None else _lines(chart, chart.time, figure)
        try:
            figure.savefig(file, dpi=144)
        except OSError as error:
            raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
    return f"{file}: {drawn}"


def plan(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Chart:
    """The first column of times is the axis. Text that never differs, or in almost every row, names no line."""
    if not rows:
        raise click.ClickException("the answer has no rows, so there is nothing to draw; try another time or question")
    kinds = [_kind([row[column] for row in rows]) for column in range(len(columns))]
    numbers = tuple(column for column, kind in enumerate(kinds) if kind == "number")[:PANELS]
    time = next((column for column, kind in enumerate(kinds) if kind == "time"), None)
    names = tuple(column for column, kind in enumerate(kinds) if kind == "text")
    if not numbers or (time is None and not names):
        raise click.ClickException("a chart needs a column of numbers, and one of times or names to draw it against")
    if time is not None:
        names = tuple(column for column in names if 1 < _different(rows, column) <= max(SERIES, len(rows) // 2))
    return Chart(rows=rows, columns=columns, time=time, names=names, numbers=numbers)


def _different(rows: Sequence[Sequence[Any]], column: int) -> int:
    return len({str(row[column]) for row in rows})


def _kind(values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, date) for value in known):
        return "time"
    if known and all(isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in known):
        return "number"
    return "text" if known else "nothing"


def _lines(chart: Chart, time: int, figure: Any) -> str:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    series = _series(chart, time)
    shown = sorted(series, key=lambda label: -_weight(chart, series[label]))[:SERIES]
    figure.set_size_inches(10, 2 + 3 * len(chart.numbers))
    panels = _panels(chart, figure, sharex=True)
    for panel, number in panels:
        for label in shown:
            points = sorted((row[time], float(row[number])) for row in series[label] if row[number] is not None)
            marker = "." if len(points) <= 100 else ""
            panel.plot([x for x, _ in points], [y for _, y in points], marker=marker, label=label)
        panel.yaxis.set_major_formatter(_short)
    locator = AutoDateLocator()
    panels[-1][0].xaxis.set_major_locator(locator)
    panels[-1][0].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if len(shown) > 1:
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return _some(len(shown), len(series), "lines", "those with the largest sums")


def _series(chart: Chart, time: int) -> dict[str, list[Sequence[Any]]]:
    """The rows that have a time, by their label."""
    series: dict[str, list[Sequence[Any]]] = {}
    for row in chart.rows:
        if row[time] is not None:
            series.setdefault(chart.label(row), []).append(row)
    return series


def _weight(chart: Chart, rows: Iterable[Sequence[Any]]) -> float:
    return sum(abs(float(row[chart.numbers[0]] or 0)) for row in rows)


def _bars(chart: Chart, figure: Any) -> str:
    """Lying down, so that long names can be read; in the order of the answer."""
    shown = chart.rows[:BARS]
    places = range(len(shown))
    figure.set_size_inches(4 + 4 * len(chart.numbers), 1.5 + 0.3 * len(shown))
    panels = _panels(chart, figure, sharey=True)
    for panel, number in panels:
        panel.barh(places, [float(row[number] or 0) for row in shown])
        panel.grid(visible=False, axis="y")
        panel.grid(visible=True, axis="x")
        panel.margins(y=0.02)
        panel.xaxis.set_major_formatter(_short)
    panels[0][0].set_yticks(places, [chart.label(row) for row in shown])
    panels[0][0].invert_yaxis()
    return _some(len(shown), len(chart.rows), "bars", "the first of the answer")


def _panels(chart: Chart, figure: Any, **shared: bool) -> list[tuple[Any, int]]:
    """One a column of numbers, named after it: below each other over time, next to each other for bars."""
    count = len(chart.numbers)
    shape = (count, 1) if chart.time is not None else (1, count)
    panels = figure.subplots(*shape, squeeze=False, **shared).flatten()
    for panel, number in zip(panels, chart.numbers, strict=True):
        panel.set_title(chart.columns[number], loc="left", fontsize="medium")
    return list(zip(panels, chart.numbers, strict=True))


def _short(value: float, _position: int) -> str:
    """12k and 3.4M: an axis has no space for more."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _some(shown: int, all_: int, what: str, which: str) -> str:
    return f"{what}: {shown}" if shown == all_ else f"{what}: {shown} of {all_}, {which}"

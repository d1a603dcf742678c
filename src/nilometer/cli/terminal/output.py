"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click

from nilometer.cli.terminal.visible import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

_UNSEEN = 240  # columns
_NARROW = 24  # columns that text which wraps needs to be read
_GAP = 3  # columns between two of a table
_EDGES = 2  # columns around it
_NOTHING = "–"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

json_option = click.option("--json", "as_json", is_flag=True, help="For machines: JSON on stdout.")


def print_json(value: object) -> None:
    """One line; what a terminal would obey instead of show is escaped."""
    click.echo(visible_json(json.dumps(value, default=plain, ensure_ascii=False)))


def print_json_lines(values: Iterable[object]) -> None:
    """One line a value."""
    for value in values:
        print_json(value)


def print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool, empty: str) -> None:
    """A line a row for machines; for people a table of `columns`, marked as in `table`, or the note `empty`."""
    if as_json:
        print_json_lines(rows)
    elif not rows:
        note(empty)
    else:
        out().print(table(columns, ([row[column.lstrip(">~")] for column in columns] for row in rows)))


def note(message: str) -> None:
    """Commentary, on stderr."""
    click.echo(visible(message), err=True)


def echo(message: object) -> None:
    """One line of an answer, on stdout; whatever came from outside is shown, not obeyed."""
    click.echo(visible(str(message)))


def out() -> Console:
    """As wide as the terminal; what goes to a file or a pipe is not cut at a width that nobody sees."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_UNSEEN)


def err() -> Console:
    """For progress: what is shown while a command works."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table | Group:
    """A table as wide as the terminal allows. Where not even its wrapped columns fit, those without any value are left
    out, and where that is not enough each row is a block of lines.

    A column whose name begins with `>` is aligned right; one with `~` wraps where the width is short. No cell is cut.
    A value may be a `rich.text.Text` with styles of its own; all others are shown as `cell` does.
    """
    from rich.text import Text

    cells = [[value if isinstance(value, Text) else Text.from_markup(cell(value)) for value in row] for row in rows]
    used = [at for at in range(len(columns)) if any(row[at].plain not in {"", _NOTHING} for row in cells)]
    kept, filled = [columns[at] for at in used], [[row[at] for at in used] for row in cells]
    for names, chosen in ((columns, cells), (kept, filled)):
        if _least(names, chosen) <= out().width:
            return _side_by_side(names, chosen, title)
    return _blocks([column.lstrip(">~") for column in columns], cells, title)


def _least(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> int:
    """The width of the narrowest table in which no cell is cut."""
    from rich.cells import cell_len

    widths = [
        max([cell_len(name.lstrip(">~")), *(row[at].cell_len for row in cells)]) for at, name in enumerate(columns)
    ]
    least = (min(width, _NARROW) if "~" in name else width for width, name in zip(widths, columns, strict=True))
    return sum(least) + _GAP * (len(columns) - 1) + _EDGES


def _side_by_side(columns: Sequence[str], cells: Sequence[Sequence[Text]], title: str | None) -> Table:
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if ">" in column else "left"
        made.add_column(column.lstrip(">~"), justify=justify, no_wrap="~" not in column, overflow="fold")
    for row in cells:
        made.add_row(*row)
    return made


def _blocks(names: Sequence[str], cells: Sequence[Sequence[Text]], title: str | None) -> Group:
    """Name and value a line, the first column as the heading; what is empty is left out."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made: list[Text | Table] = [Text(title, "bold")] if title else []
    for heading, *values in cells:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in zip(names[1:], values, strict=True):
            if value.plain not in {"", _NOTHING}:
                grid.add_row(f"  {name}", value)
        made += [Text.assemble((f"{names[0]} " if names[0] else "", "dim"), heading), grid]
    return Group(*made)


def cell(value: object) -> str:
    """A value of a table as markup: an absent one as a dash, a list or mapping as JSON, times to the second in UTC."""
    from rich.markup import escape

    if value is None:
        return f"[dim]{_NOTHING}[/dim]"
    if isinstance(value, Mapping | list):
        return escape(visible(json.dumps(value, default=plain, ensure_ascii=False)))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return escape(visible(_seconds(text) if _RFC_3339.fullmatch(text) else text))


def styled(text: str, style: str) -> Text:
    """A value of a table in a colour of its own."""
    from rich.text import Text

    return Text(visible(text), style)


def lines(texts: Iterable[str]) -> Text:
    """A value of a table that has several lines; what came from outside makes none of its own."""
    from rich.text import Text

    return Text("\n".join(map(visible, texts)))


def _seconds(text: str) -> str:
    """`2026-11-28T23:56:42.123Z` as a person reads it: `2026-11-28 23:56:42`. Every time of ours is UTC."""
    return text[:19].replace("T", " ")


def whole(value: Any) -> Any:
    """A sum of integers comes from SQL as a decimal without fraction digits: it is an integer."""
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value


def plain(value: Any) -> object:
    """JSON for what DynamoDB and Delta hold: decimals and times as text, bytes as a length only."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")

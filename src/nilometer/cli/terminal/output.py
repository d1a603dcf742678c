"""How commands speak: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNSEEN = 240  # columns

json_option = click.option("--json", "as_json", is_flag=True, help="For machines: JSON on stdout.")


def print_json(value: object) -> None:
    """One line."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def print_json_lines(values: Iterable[object]) -> None:
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
    """Commentary."""
    click.echo(message, err=True)


def out() -> Console:
    """As wide as the terminal; what goes to a file or a pipe is not cut at a width that nobody sees."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_UNSEEN)


def err() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """A column whose name begins with `>` is aligned right; one with `~` gives way where the width is short."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        gives_way = column.startswith("~")
        overflow: Literal["fold", "ellipsis"] = "fold" if gives_way else "ellipsis"
        made.add_column(column.lstrip(">~"), justify=justify, no_wrap=not gives_way, overflow=overflow)
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "[dim]–[/dim]"
    if isinstance(value, Mapping | list):
        return escape(json.dumps(value, default=_plain))
    return escape(str(value))


def _plain(value: Any) -> object:
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

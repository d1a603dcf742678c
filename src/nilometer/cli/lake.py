"""`nilometer query` and `nilometer tables`: the lake, by SQL and by name."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.connection import Connection, stack_options
from nilometer.cli.output import cell, json_option, note, out, print_json_lines, table

if TYPE_CHECKING:
    from nilometer.lake.query import Result

COLUMNS = 8  # more do not fit beside each other
SHOWN = 100  # rows on a terminal; --json and --csv give all


@click.command()
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header on stdout.")
@stack_options
@json_option
def query(connection: Connection, sql: str, as_csv: bool, as_json: bool) -> None:
    """Ask the Delta tables stripe_events, usage and audit in SQL (DuckDB's); - reads it from stdin.

    --json prints one object a row, with exact decimals as strings.

    \b
    Examples:
      nilometer query "select type, count(*) from stripe_events group by 1 order by 2 desc"
      nilometer query "select * from usage" --csv > usage.csv
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    found = _ask(connection, sys.stdin.read() if sql == "-" else sql)
    if as_json:
        print_json_lines(dict(zip(found.columns, map(_number, row), strict=True)) for row in found.rows)
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(found.columns)
        writer.writerows(found.rows)
    else:
        _show(found)


@click.command()
@stack_options
@json_option
def tables(connection: Connection, as_json: bool) -> None:
    """The Delta tables: version, rows, files, bytes, location.

    --json prints one object a table; version is null before the first row.

    \b
    Example:
      nilometer tables --json | jq -r .location
    """
    from dataclasses import asdict

    from nilometer.lake.query import describe
    from nilometer.lake.storage import storage_options

    found = describe(lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ))
    if as_json:
        print_json_lines(asdict(description) for description in found)
        return
    rows = [(d.name, d.version, f"{d.rows:,}", d.files, f"{d.bytes:,}", d.location) for d in found]
    out().print(table(["table", ">version", ">rows", ">files", ">bytes", "~location"], rows))


def _ask(connection: Connection, sql: str) -> Result:
    from nilometer.lake.query import query as ask
    from nilometer.lake.storage import storage_options

    return ask(sql, lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ))


def _show(found: Result) -> None:
    rows = list(islice(found.rows, SHOWN))
    out().print(_rows(found.columns, rows))
    if next(iter(found.rows), None) is not None:
        note(f"the first {SHOWN} rows; --json and --csv give all")


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    """A table, or what is too wide for one as a block a row."""
    if len(columns) <= COLUMNS:
        return rows_table(columns, rows)
    from rich.console import Group
    from rich.rule import Rule
    from rich.table import Table

    blocks: list[Any] = []
    for number, row in enumerate(rows, start=1):
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for name, value in zip(columns, row, strict=True):
            grid.add_row(name, cell(_readable(value)))
        blocks += [Rule(f"row {number}", align="left", style="dim"), grid]
    return Group(*blocks)


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """Numbers to the right, times to the second."""
    made = list(rows)
    numeric = [bool(made) and all(_is_number(row[i]) for row in made) for i in range(len(columns))]
    names = [f">{name}" if right else name for name, right in zip(columns, numeric, strict=True)]
    return table(names, ([_readable(value) for value in row] for row in made))


def _is_number(value: object) -> bool:
    from decimal import Decimal

    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _readable(value: Any) -> Any:
    from datetime import datetime
    from decimal import Decimal

    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:,f}".rstrip("0").rstrip(".") if value.as_tuple().exponent else f"{value:,f}"
    return value


def _number(value: Any) -> Any:
    """A sum of integers comes as a decimal without fraction digits: it is an integer."""
    from decimal import Decimal

    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value

"""`nilometer query` and `recipes`: the lake, in SQL and by ready questions."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.lake.chart import draw, drawable
from nilometer.cli.lake.tables import dataset_names, lake_of
from nilometer.cli.terminal.completing import among
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.near import near_names
from nilometer.cli.terminal.output import json_option, note, out, print_json_lines, table, whole
from nilometer.cli.terminal.times import time_option
from nilometer.domain.lake.dataset import FOLDER
from nilometer.domain.lake.tables import TABLES
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Rejected
from nilometer.lake.metrics.dialects import DIALECTS
from nilometer.lake.read.recipes import RECIPES

if TYPE_CHECKING:
    from nilometer.lake.read.money_recipes import Recipe
    from nilometer.lake.read.query import QueryResult

SHOWN = 100  # rows on a terminal; --json and --csv give all
_SINCE = timedelta(days=31)


_account = click.option(
    "--account",
    metavar="ACCT",
    default=OWN_ACCOUNT,
    help="A Connect account, of whose money recipes tell; the platform's own unless given.",
)


def _recipes() -> Iterable[str]:
    from nilometer.lake.read.recipes import RECIPES

    return RECIPES


@click.command()
@click.argument("sql", required=False)
@click.option(
    "--recipe",
    metavar="NAME",
    shell_complete=among(_recipes),
    help="A prepared query instead of SQL; see `nilometer recipes`.",
)
@time_option("--as-of", help="The value of getvariable('as_of') in the SQL; now unless given.")
@time_option("--since", help="The value of getvariable('since'); 31 days before unless given.")
@_account
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header on stdout.")
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=drawable,
    metavar="FILE",
    help="Draw the result into FILE.png or .svg instead.",
)
@stack_options
@json_option
def query(
    connection: Connection,
    *,
    sql: str | None,
    recipe: str | None,
    as_of: datetime | None,
    since: datetime | None,
    account: str,
    as_csv: bool,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Query the Delta tables in SQL (DuckDB's dialect).

    The tables are stripe_events, usage and audit; - reads the SQL from stdin.
    Connector datasets are in the schema datasets: `from datasets.crm_contacts`.

    --json prints one object per row, with exact decimals as strings. --chart draws numbers as lines over the first
    column of times, or as bars by name; it needs the extra `chart`.

    \b
    Examples:
      nilometer query "select type, count(*) from stripe_events group by 1 order by 2 desc"
      nilometer query "select * from usage" --csv > usage.csv
      nilometer query --recipe usage-per-day --since 2026-11-01 --chart usage.png
    """
    from nilometer.lake.read.query import query as ask

    if as_csv + as_json + (chart is not None) > 1:
        raise click.UsageError("--csv, --json and --chart exclude each other")
    asked = _sql(sql, recipe)
    datasets = dataset_names(connection) if f"{FOLDER}." in asked.lower() else []
    with _naming_our_tables():
        found = ask(asked, **lake_of(connection), as_of=as_of, since=since, account=account, datasets=datasets)
    if chart:
        note(draw(found.columns, found.rows, chart, title=_question(recipe)))
    elif as_json:
        print_json_lines(dict(zip(found.columns, map(whole, row), strict=True)) for row in found.rows)
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(found.columns)
        writer.writerows(found.rows)
    else:
        _show(found)


@click.command()
@click.option(
    "--dialect",
    type=click.Choice([*DIALECTS]),
    help="SQL of this engine, with the last 31 days as literals; DuckDB's, with variables, unless given.",
)
@_account
@json_option
def recipes(dialect: str | None, account: str, as_json: bool) -> None:
    """The prepared queries of `nilometer query --recipe NAME`.

    Their SQL is in the JSON.

    \b
    Examples:
      nilometer recipes --json | jq -r .sql
      nilometer recipes --dialect athena --json | jq -r 'select(.name == "mrr").sql'
    """
    if as_json:
        print_json_lines(
            {"name": one.name, "question": one.question, "sql": _spoken(one, dialect, account)}
            for one in RECIPES.values()
        )
    else:
        out().print(table(["recipe", "~question"], [(r.name, r.question) for r in RECIPES.values()]))


def _spoken(recipe: Recipe, dialect: str | None, account: str) -> str:
    now = datetime.now(UTC)
    if dialect is None:
        return recipe.sql
    return recipe.portable(DIALECTS[dialect], since=now - _SINCE, as_of=now, account=account)


@contextlib.contextmanager
def _naming_our_tables() -> Iterator[None]:
    """DuckDB proposes names of its own catalog for a table that is not there."""
    try:
        yield
    except Rejected as error:
        if "does not exist" in str(error) and "Table with name" in str(error):
            said = str(error).partition("\n")[0]
            raise Rejected(error.reason, f"{said} Ours are {', '.join(TABLES)} and datasets.NAME") from error
        raise


def _sql(sql: str | None, recipe: str | None) -> str:
    if (sql is None) == (recipe is None):
        raise click.UsageError("give SQL or --recipe NAME, one of them")
    if recipe is not None and recipe not in RECIPES:
        near = near_names(recipe, RECIPES)
        raise click.UsageError(f"there is no recipe {recipe}{near}; `nilometer recipes` lists them")
    return RECIPES[recipe].sql if recipe else sys.stdin.read() if sql == "-" else str(sql)


def _question(recipe: str | None) -> str:
    return RECIPES[recipe].question if recipe else ""


def _show(found: QueryResult) -> None:
    rows = list(islice(found.rows, SHOWN))
    out().print(rows_table(found.columns, rows))
    if next(iter(found.rows), None) is not None:
        note(f"the first {SHOWN} rows; --json and --csv give all")


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Any:
    """Numbers to the right, times to the second."""
    made = list(rows)
    numeric = [bool(made) and all(_is_number(row[i]) for row in made) for i in range(len(columns))]
    names = [f">{name}" if right else name for name, right in zip(columns, numeric, strict=True)]
    return table(names, ([_readable(value) for value in row] for row in made))


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _readable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:,f}".rstrip("0").rstrip(".") if value.as_tuple().exponent else f"{value:,f}"
    return value

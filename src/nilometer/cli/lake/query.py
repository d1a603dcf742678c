"""`nilometer query`, `recipes` and `tables`: the lake, by SQL and by name."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.lake.chart import drawable
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import cell, json_option, note, out, print_json, print_json_lines, table
from nilometer.cli.terminal.times import time_option

if TYPE_CHECKING:
    from datetime import datetime

    from nilometer.domain.lake.tables import DeltaTable
    from nilometer.lake.read.query import Result

COLUMNS = 8  # more do not fit beside each other
SHOWN = 100  # rows on a terminal; --json and --csv give all


@click.command()
@click.argument("sql", required=False)
@click.option("--recipe", metavar="NAME", help="A ready question instead of SQL; see `nilometer recipes`.")
@time_option("--as-of", help="What the SQL sees as getvariable('as_of'); now unless given.")
@time_option("--since", help="What it sees as getvariable('since'); 31 days before unless given.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header on stdout.")
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=drawable,
    metavar="FILE",
    help="Draw it into FILE.png or .svg instead.",
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
    as_csv: bool,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Ask the Delta tables stripe_events, usage and audit in SQL (DuckDB's); - reads it from stdin.

    Connector datasets are in the schema datasets: `from datasets.crm_contacts`.

    --json prints one object a row, with exact decimals as strings. --chart draws numbers as lines over the first
    column of times, or as bars by name; it needs the extra `chart`.

    \b
    Examples:
      nilometer query "select type, count(*) from stripe_events group by 1 order by 2 desc"
      nilometer query "select * from usage" --csv > usage.csv
      nilometer query --recipe usage-per-day --since 2026-11-01 --chart usage.png
    """
    from nilometer.cli.lake.chart import draw
    from nilometer.domain.lake.dataset import FOLDER
    from nilometer.lake.read.query import query as ask

    if as_csv + as_json + (chart is not None) > 1:
        raise click.UsageError("--csv, --json and --chart exclude each other")
    asked = _sql(sql, recipe)
    datasets = _datasets(connection) if f"{FOLDER}." in asked.lower() else []
    found = ask(asked, **_lake(connection), as_of=as_of, since=since, datasets=datasets)
    if chart:
        note(draw(found.columns, found.rows, chart, title=_question(recipe)))
    elif as_json:
        print_json_lines(dict(zip(found.columns, map(_number, row), strict=True)) for row in found.rows)
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(found.columns)
        writer.writerows(found.rows)
    else:
        _show(found)


@click.command()
@json_option
def recipes(as_json: bool) -> None:
    """The ready questions of `nilometer query --recipe NAME`.

    \b
    Example:
      nilometer recipes --json | jq -r .sql
    """
    from dataclasses import asdict

    from nilometer.lake.read.recipes import RECIPES

    if as_json:
        print_json_lines(asdict(recipe) for recipe in RECIPES.values())
    else:
        out().print(table(["recipe", "~question"], [(r.name, r.question) for r in RECIPES.values()]))


class _Tables(click.Group):
    """`nilometer tables` alone is `nilometer tables status`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = bool(args) and args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named else ["status", *args])


@click.group(cls=_Tables)
def tables() -> None:
    """The Delta tables: what they are, and their upkeep.

    \b
    Example:
      nilometer tables --json | jq -r .location
    """


@tables.command()
@stack_options
@json_option
def status(connection: Connection, as_json: bool) -> None:
    """Version, rows, files, bytes and location of each; also without the word `status`.

    --json prints one object a table; version is null before the first row.

    \b
    Example:
      nilometer tables status
    """
    from dataclasses import asdict

    from nilometer.lake.read.query import describe

    found = describe(**_lake(connection), datasets=_datasets(connection))
    if as_json:
        print_json_lines(asdict(description) for description in found)
        return
    rows = [(d.name, d.version, f"{d.rows:,}", d.files, f"{d.bytes:,}", d.location) for d in found]
    out().print(table(["table", ">version", ">rows", ">files", ">bytes", "~location"], rows))


tables_option = click.option("--table", "names", multiple=True, metavar="TABLE", help="Only this one; repeatable.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")


@tables.command()
@tables_option
@dry_run_option
@click.option("--minutes", type=click.IntRange(min=1), default=10, help="Begin no further day after this time; 10.")
@stack_options
@json_option
def optimize(connection: Connection, *, names: tuple[str, ...], dry_run: bool, minutes: int, as_json: bool) -> int:
    """Write checkpoints, remove expired logs and files, compact days: what the schedule does every hour.

    Never blocks the writers; safe beside another run. Exit code 1 when something failed or the time was over.

    \b
    Example:
      nilometer tables optimize --dry-run
    """
    import time
    from dataclasses import asdict
    from datetime import UTC, datetime

    from nilometer.flows.lake.maintenance import maintain
    from nilometer.lake.write.append import Lake

    lake, stopped = _lake(connection), False
    done = maintain(
        Lake(uri=lake["lake_uri"], storage_options=lake["storage_options"]),
        now=datetime.now(UTC),
        deadline=time.monotonic() + 60 * minutes,
        tables=_named(connection, names),
        dry_run=dry_run,
        progress=note,
    )
    for report in done:
        stopped = stopped or report.stopped is not None
        if as_json:
            print_json(asdict(report))
        else:
            rows_of = [f"{name.replace('_', ' ')} {value}" for name, value in asdict(report).items() if name != "table"]
            out().print(f"{report.table}: {', '.join(rows_of)}", markup=False)
    return int(stopped)


@tables.command()
@tables_option
@dry_run_option
@click.option(
    "--retention-days",
    type=click.IntRange(min=7),
    default=7,
    help="Keep what a version of this time named; 7, the least.",
)
@stack_options
@json_option
def vacuum(connection: Connection, *, names: tuple[str, ...], dry_run: bool, retention_days: int, as_json: bool) -> int:
    """Delete the files that no version within the retention names, and as old ones that no version ever named.

    No row is lost: compaction has replaced the first, and writers that died have left the second. Writes a
    checkpoint and removes expired logs on the way. --json prints one object a table, with the paths. Exit code 1
    when a table could not be vacuumed.

    \b
    Example:
      nilometer tables vacuum --dry-run --json | jq -r '.files[]'
    """
    from dataclasses import asdict

    from nilometer.lake.write.maintenance import vacuum as delete_expired

    done = []
    for one in _named(connection, names):
        note(f"{one.name}: looking for expired files")
        lake = _lake(connection)
        done.append(delete_expired(one, **lake, retention_hours=24 * retention_days, dry_run=dry_run))
    if as_json:
        print_json_lines(asdict(one) for one in done)
    else:
        header = ["table", ">expired" if dry_run else ">deleted", "~stopped"]
        out().print(table(header, [(one.table, f"{len(one.files):,}", one.stopped) for one in done]))
    return int(any(one.stopped for one in done))


def _named(connection: Connection, names: tuple[str, ...]) -> tuple[DeltaTable, ...]:
    """All of them unless named; a dataset is `datasets/NAME`."""
    from nilometer.flows.lake.maintenance import all_tables

    found = {one.name: one for one in all_tables(connection.store())}
    if unknown := set(names) - set(found):
        raise click.UsageError(f"there is no table {unknown.pop()}; one of {', '.join(found)}")
    return tuple(found[name] for name in names or found)


def _sql(sql: str | None, recipe: str | None) -> str:
    from nilometer.lake.read.recipes import RECIPES

    if (sql is None) == (recipe is None):
        raise click.UsageError("give SQL or --recipe NAME, one of them")
    if recipe is not None and recipe not in RECIPES:
        raise click.UsageError(f"there is no recipe {recipe}; `nilometer recipes` lists them")
    return RECIPES[recipe].sql if recipe else sys.stdin.read() if sql == "-" else str(sql)


def _question(recipe: str | None) -> str:
    from nilometer.lake.read.recipes import RECIPES

    return RECIPES[recipe].question if recipe else ""


def _datasets(connection: Connection) -> list[str]:
    """Those that have been written, as S3 knows them: who may read the lake may not see the tables of DynamoDB."""
    from nilometer.domain.lake.dataset import FOLDER

    bucket = connection.objects()
    folder = connection.description.lake_uri.removeprefix(f"s3://{bucket.bucket}/")
    return bucket.folders(f"{folder}/{FOLDER}/")


def _lake(connection: Connection) -> dict[str, Any]:
    from nilometer.lake.tables.storage import storage_options

    return {"lake_uri": connection.description.lake_uri, "storage_options": storage_options(os.environ)}


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

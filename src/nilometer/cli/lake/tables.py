"""`nilometer tables`: the Delta tables of the lake, and their upkeep."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import DefaultGroup
from nilometer.cli.terminal.output import echo, json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.lake.dataset import FOLDER
from nilometer.domain.lake.tables import DeltaTable
from nilometer.lake.tables.storage import storage_options


@click.group(cls=DefaultGroup, default="status", alone=True)
def tables() -> None:
    """The Delta tables: their state and their maintenance.

    \b
    Example:
      nilometer tables --json | jq -r .location
    """


@tables.command()
@stack_options
@json_option
def status(connection: Connection, as_json: bool) -> None:
    """Version, rows, files, bytes and location of each table; `status` may be left out.

    --json prints one object per table; version is null before the first row.

    \b
    Example:
      nilometer tables status
    """
    from nilometer.lake.read.query import describe

    found = describe(**lake_of(connection), datasets=dataset_names(connection))
    if as_json:
        print_json_lines(asdict(description) for description in found)
        return
    rows = [(d.name, d.version, f"{d.rows:,}", d.files, f"{d.bytes:,}") for d in found]
    out().print(table(["table", ">version", ">rows", ">files", ">bytes"], rows))
    note(f"in {found[0].location.rpartition('/')[0]}; --json has the location of each")


tables_option = click.option("--table", "names", multiple=True, metavar="TABLE", help="Only this table; repeatable.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Print what would be done, change nothing.")


@tables.command()
@tables_option
@dry_run_option
@click.option(
    "--minutes", type=click.IntRange(min=1), default=10, help="Start no further day after this many minutes; 10."
)
@stack_options
@json_option
def optimize(connection: Connection, *, names: tuple[str, ...], dry_run: bool, minutes: int, as_json: bool) -> int:
    """Write checkpoints, remove expired logs and files, compact days: the same as the hourly schedule.

    Never blocks the writers; two runs at once are safe. Exit code 1 when something failed or the time ran out.

    \b
    Example:
      nilometer tables optimize --dry-run
    """
    from nilometer.flows.lake.maintenance import maintain
    from nilometer.lake.write.append import Lake

    lake, stopped = lake_of(connection), False
    done = maintain(
        Lake(uri=lake["lake_uri"], storage_options=lake["storage_options"]),
        now=connection.now,
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
            echo(f"{report.table}: {', '.join(_told(asdict(report))) or 'nothing to do'}")
    return int(stopped)


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    """The values that are not absent, empty or zero."""
    for name, value in report.items():
        if name != "table" and value not in (None, 0, (), [], {}, False):
            shown = ", ".join(map(str, value)) if isinstance(value, tuple | list) else value
            yield f"{name.replace('_', ' ')} {shown}"


@tables.command()
@tables_option
@dry_run_option
@click.option(
    "--retention-days",
    type=click.IntRange(min=7),
    default=7,
    help="Keep the files of the versions of this time; 7, the minimum.",
)
@stack_options
@json_option
def vacuum(connection: Connection, *, names: tuple[str, ...], dry_run: bool, retention_days: int, as_json: bool) -> int:
    """Delete files that no version within the retention uses, and files as old that no version ever used.

    No row is lost: compaction has replaced the former, and writers that were killed have left the latter. Also writes a
    checkpoint and removes expired logs. --json prints one object per table, with the paths. Exit code 1 when a table
    could not be vacuumed.

    \b
    Example:
      nilometer tables vacuum --dry-run --json | jq -r '.files[]'
    """
    from nilometer.lake.write.maintenance import vacuum as delete_expired

    done = []
    for one in _named(connection, names):
        note(f"{one.name}: looking for expired files")
        lake = lake_of(connection)
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


def dataset_names(connection: Connection) -> list[str]:
    """Those that have been written, from the objects in S3: who may read the lake may not read DynamoDB."""
    bucket = connection.objects()
    folder = connection.description.lake_uri.removeprefix(f"s3://{bucket.bucket}/")
    return bucket.folders(f"{folder}/{FOLDER}/")


def lake_of(connection: Connection) -> dict[str, Any]:
    """Where the lake lies and how to open it, as the functions of `nilometer.lake` take it."""
    return {"lake_uri": connection.description.lake_uri, "storage_options": storage_options(os.environ)}

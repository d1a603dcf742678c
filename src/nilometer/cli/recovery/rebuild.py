"""`nilometer rebuild` and `nilometer restore`: what the tables were at a time.

The one writes the records of the lake into a table to be read; the other copies what DynamoDB restored into a stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from nilometer.aws.dynamodb import Store
from nilometer.cli.lake.ledger import ledger_of
from nilometer.cli.terminal.caller import confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, table
from nilometer.cli.terminal.times import time_option

if TYPE_CHECKING:
    from nilometer.flows.recovery.rebuild import Rebuilt


@click.command()
@time_option("--as-of", help="The records at the end of this second.")
@click.option("--into", metavar="TABLE", help="An empty DynamoDB table with the keys pk and sk; without it, a dry run.")
@click.option("--resume", is_flag=True, help="Continue a stopped run with the same --as-of; nothing is replaced.")
@yes_option
@stack_options
@json_option
def rebuild(
    connection: Connection, *, as_of: datetime | None, into: str | None, resume: bool, yes: bool, as_json: bool
) -> None:
    """Write the records as they were at a time into a table, from the audit; without --into, count them.

    What the lake does not store cannot be rebuilt: redacted attributes are [redacted], tokens and sessions cannot be
    used, and the evidence of billing is missing. Those records are counted as incomplete. The table shows the former
    state; a stack cannot run on it.

    \b
    Examples:
      nilometer rebuild --as-of 2026-11-01T00:00:00Z
      nilometer rebuild --as-of 2026-11-01T00:00:00Z --into records-of-november
    """
    from nilometer.flows.recovery.rebuild import rebuild as put_back

    if as_of is None:
        raise click.UsageError("--as-of is missing: which time?")
    target = _target(connection, into)
    if into:
        confirmed(f"Write the records of {as_of.isoformat()} into {into}?", yes)
    rebuilt = put_back(
        Store(connection.client("dynamodb"), records=target, events=connection.description.events_table),
        ledger=ledger_of(connection),
        objects=connection.objects(),
        as_of=as_of,
        now=connection.now,
        dry_run=into is None,
        resume=resume,
    )
    _show(rebuilt, into, as_json=as_json)


@click.command()
@click.option("--records", metavar="TABLE", required=True, help="The restored table of records.")
@click.option("--events", metavar="TABLE", required=True, help="The restored table of events, of the same second.")
@click.option("--dry-run", is_flag=True, help="Count only; write nothing.")
@yes_option
@stack_options
@json_option
def restore(connection: Connection, *, records: str, events: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Copy two tables from point-in-time recovery into the tables of a running stack.

    Copies every item unchanged, with tokens and personal data. Items that the stack wrote since are never replaced, so
    it may be run again; exit code 3 when items differ. docs/restore.md has all steps, and what to do afterwards.

    \b
    Example:
      nilometer restore --stack nilometer-new --records records-restored --events events-restored
    """
    from nilometer.flows.recovery.rebuild import restore as copy

    for name in (records, events):
        _target(connection, name)
    if _indexes(connection, events) and not _indexes(connection, records):
        raise click.UsageError(f"{events} has the index of records and {records} has none: exchange the two names")
    if not dry_run:
        confirmed(f"Copy {records} and {events} into {connection.description.stack_name}?", yes)
    source = Store(connection.client("dynamodb"), records=records, events=events)
    found = list(copy(source, connection.store(), now=connection.now, dry_run=dry_run))
    if as_json:
        print_json({"dry_run": dry_run, "tables": [asdict(one) for one in found]})
    else:
        columns = ["table", ">found", ">put", ">equal", ">different", ">expired"]
        counts = ((one.table, one.found, one.put, one.equal, one.different, one.expired) for one in found)
        out().print(table(columns, [(name, *(f"{number:,}" for number in numbers)) for name, *numbers in counts]))
    return 3 if any(one.different for one in found) else 0


def _target(connection: Connection, into: str | None) -> str:
    """The live table's name for a dry run, which writes nothing."""
    description = connection.description
    if into and _is_own(connection, into, {description.records_table, description.events_table}):
        raise click.UsageError(f"{into} is the stack's own table; name an empty one")
    return into or description.records_table


def _is_own(connection: Connection, name: str, own: Set[str]) -> bool:
    """A name may be an ARN, and a table of the same name in another account or region is another table."""
    if name in own:
        return True
    asked = _described(connection, name)
    same = str(asked["TableName"])
    return same in own and _described(connection, same)["TableArn"] == asked["TableArn"]


def _described(connection: Connection, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = connection.client("dynamodb").describe_table(TableName=name)["Table"]
    return found


def _indexes(connection: Connection, name: str) -> set[str]:
    return {str(one["IndexName"]) for one in _described(connection, name).get("GlobalSecondaryIndexes", ())}


def _show(rebuilt: Rebuilt, into: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(rebuilt), "into": into})
        return
    out().print(table(["kind", ">records"], [(kind, f"{n:,}") for kind, n in sorted(rebuilt.kinds.items())]))
    note(f"{rebuilt.records} records, {rebuilt.written} written, {rebuilt.incomplete} incomplete")
    for name, count in sorted(rebuilt.incomplete_fields.items()):
        note(f"  {name}: {count}")
    for key in rebuilt.left_out:
        note(f"  left out, too large or its image is gone: {' '.join(key)}")
    if (left := rebuilt.too_large + rebuilt.lost) > len(rebuilt.left_out):
        note(f"  and {left - len(rebuilt.left_out):,} more")

"""`nilometer replay lake`: what the lake has and the tables lost."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime

import click

from nilometer.cli.terminal.caller import confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, print_json
from nilometer.cli.terminal.times import time_option
from nilometer.errors import Refused
from nilometer.flows.recovery.replay import MissingUsage, missing_usage
from nilometer.lake.tables.storage import storage_options

_REDACTED = (
    "the lake keeps Stripe's events redacted: sent again they would take plans and payment methods away. "
    "Use `nilometer replay archive` (90 days), `nilometer backfill events` (Stripe keeps 30 days) or, for the state "
    "alone, `nilometer backfill objects`"
)


@click.command("lake")
@click.argument("table", metavar="TABLE", type=click.Choice(["usage", "stripe_events"]))
@time_option("--since", help="Usage that reached the lake from this time on.")
@time_option("--until", help="Usage that reached the lake before this time; now unless given.")
@click.option("--workspace", "workspace_id", metavar="W", help="Only of this flow.")
@click.option("--dry-run", is_flag=True, help="Count only; publish nothing.")
@yes_option
@stack_options
@json_option
def replay_lake(
    connection: Connection,
    *,
    table: str,
    since: datetime | None,
    until: datetime | None,
    workspace_id: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Publish usage that is in the lake and not in the tables, after these were restored to an earlier time.

    TABLE is usage. Events with a fact are skipped, so it may be run again. Events older than 35 days are skipped too,
    because the flow would reject them; `nilometer usage recount` corrects the counters of an open period from the lake.
    Stripe's events cannot be replayed from here, because the lake has them redacted.

    \b
    Examples:
      nilometer replay lake usage --since 2026-11-26T04:00:00Z --dry-run
      nilometer replay lake usage --since 2026-11-26T04:00:00Z --yes && nilometer wait
    """
    if table == "stripe_events":
        raise Refused(_REDACTED)
    if since is None:
        raise click.UsageError("--since is missing: the time to which the tables were restored")
    found = _replay(connection, since, until, workspace_id, publishes=False)
    if found.missing and not dry_run:
        confirmed(f"Publish {found.missing:,} usage events that no fact knows?", yes)
        found = _replay(connection, since, until, workspace_id, publishes=True)
    _report(found, dry_run=dry_run, as_json=as_json)


def _replay(
    connection: Connection, since: datetime, until: datetime | None, workspace_id: str | None, *, publishes: bool
) -> MissingUsage:
    from nilometer.lake.read.ledger import Ledger

    now = connection.now
    ledger = Ledger(lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ))
    rows = ledger.usage_recorded(since=since, until=until or now, workspace_id=workspace_id)
    bus = connection.bus() if publishes else None
    found = MissingUsage()
    with err().status("comparing") as status:
        for found in missing_usage(rows, store=connection.store(), bus=bus, now=now):
            status.update(f"{found.rows:,} rows, {found.missing:,} without a fact, {found.published:,} published")
    return found


def _report(found: MissingUsage, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "dry_run": dry_run})
        return
    if found.too_old:
        note(f"{found.too_old:,} rows are of usage more than 35 days ago, which is refused, and were left out")
    note(f"{found.rows:,} rows, {found.missing:,} without a fact, {found.published:,} published")

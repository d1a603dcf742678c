"""`nilometer verify`: the lake folded must equal the tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, table

if TYPE_CHECKING:
    from nilometer.flows.recovery.verify import Report

CHECKS = ("records", "counters", "stripe_events", "usage_events")
DIFFERENCE = 3  # the exit code of a check that found one


@click.command()
@click.argument("checks", nargs=-1, type=click.Choice(CHECKS), metavar="[CHECK]...")
@click.option("--grace", type=click.IntRange(min=0), default=120, help="Seconds that a change may be on its way; 120.")
@stack_options
@json_option
def verify(connection: Connection, checks: tuple[str, ...], grace: int, as_json: bool) -> int:
    """Compare the lake with the tables: records, counters, stripe_events, usage_events; all unless named.

    Reads only, and the whole of both sides. What changed within --grace counts as in flight. Exit code 3 when
    something differs.

    \b
    Examples:
      nilometer verify
      nilometer verify counters --json
    """
    from datetime import UTC, datetime, timedelta

    from nilometer.flows.recovery.verify import Verification
    from nilometer.lake.read.ledger import Ledger
    from nilometer.lake.tables.storage import storage_options

    verification = Verification(
        store=connection.store(),
        ledger=Ledger(lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ)),
        objects=connection.objects(),
        now=datetime.now(UTC),
        grace=timedelta(seconds=grace),
    )
    reports = []
    for report in verification.run(checks or CHECKS):
        reports.append(report)
        note(f"{report.check}: {report.compared:,} compared")
    _show(reports, as_json=as_json)
    return 0 if all(report.ok for report in reports) else DIFFERENCE


def _show(reports: list[Report], *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        for report in reports:
            print_json({**asdict(report), "ok": report.ok})
        return
    rows = [
        ("[green]✓[/green]" if r.ok else "[red]✗[/red]", r.check, f"{r.compared:,}", r.different, r.in_flight)
        for r in reports
    ]
    made = table(["", "check", ">compared", ">different", ">in flight"], ())
    for row in rows:
        made.add_row(*map(str, row))
    out().print(made)
    for report in reports:
        for one in report.differences:
            fields = (
                f": {', '.join(one.fields)}" if one.fields else f": {one.table} in the table, {one.lake} in the lake"
            )
            out().print(f"{report.check} {' '.join(one.key)} {one.kind.value.replace('_', ' ')}{fields}", markup=False)

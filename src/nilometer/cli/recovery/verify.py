"""`nilometer verify`: the lake folded must equal the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.lake.ledger import ledger_of
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import echo, json_option, note, out, print_json, styled, table
from nilometer.domain.recovery.verification import Difference

if TYPE_CHECKING:
    from nilometer.flows.recovery.verify import VerifyReport

CHECKS = ("records", "counters", "stripe_events", "usage_events", "origin", "books")
GRACE = 120  # seconds that a change may be on its way
DIFFERENCE = 3  # the exit code of a check that found one


@click.command()
@click.argument("checks", nargs=-1, type=click.Choice(CHECKS), metavar="[CHECK]...")
@click.option(
    "--steps", is_flag=True, help="Check every row of the audit as a step; only this check unless a CHECK is given."
)
@click.option("--grace", type=click.IntRange(min=0), default=GRACE, help="Seconds that a change may be in flight; 120.")
@stack_options
@json_option
def verify(connection: Connection, checks: tuple[str, ...], steps: bool, grace: int, as_json: bool) -> int:
    """Compare the lake with the tables.

    CHECK is records, counters, stripe_events, usage_events, books or origin; all unless named.

    books compares every Stripe object's current row with its register, field by field.
    origin lists the rows of the audit without a valid proof that the relay wrote them; all other checks skip them. Void
    one with `nilometer history void`.

    --steps checks each change: may this cause change the record from its old to its new value? An accepted invitation
    stays accepted, an ended reservation does not open again, a counter decreases only by a void. It prints the row, the
    rule and what to do.

    Reads only, and reads both sides in full. What changed within --grace counts as in flight. Exit code 3 when
    something differs.

    \b
    Examples:
      nilometer verify
      nilometer verify counters --json
      nilometer verify --steps
    """
    reports = []
    wanted = (*checks, "steps") if steps else checks or CHECKS
    for report in _reports(connection, wanted, grace):
        reports.append(report)
        note(f"{report.check}: {report.compared:,} compared")
    _show(reports, as_json=as_json)
    return 0 if all(report.ok for report in reports) else DIFFERENCE


def verified(connection: Connection, checks: Sequence[str]) -> list[dict[str, Any]]:
    """What `nilometer verify CHECK... --json` prints, a line each."""
    return [_as_json(report) for report in _reports(connection, checks, GRACE)]


def _reports(connection: Connection, checks: Sequence[str], grace: int) -> Iterator[VerifyReport]:
    from nilometer.flows.recovery.verify import Verification

    verification = Verification(
        store=connection.store(),
        ledger=ledger_of(connection),
        objects=connection.objects(),
        now=connection.now,
        grace=timedelta(seconds=grace),
    )
    yield from verification.run(checks)


def _as_json(report: VerifyReport) -> dict[str, Any]:
    return {**asdict(report), "ok": report.ok}


def _show(reports: list[VerifyReport], *, as_json: bool) -> None:
    if as_json:
        for report in reports:
            print_json(_as_json(report))
        return
    rows = [
        (styled("✓", "green") if r.ok else styled("✗", "red"), r.check, f"{r.compared:,}", r.different, r.in_flight)
        for r in reports
    ]
    out().print(table(["", "check", ">compared", ">different", ">in flight"], rows))
    for report in reports:
        for one in report.differences:
            what = one.kind.value.replace("_", " ")
            echo(f"{report.check} {' '.join(one.key)} {what}{_sides(one)}")


def _sides(one: Difference) -> str:
    """In what a record differs, or what either side says; of a row without proof its key says all."""
    if one.kind.value == "unproven":
        return ""
    if one.kind.value == "wrong_step":
        return f": {', '.join(one.fields)}: {one.lake}"
    return f": {', '.join(one.fields)}" if one.fields else f": {one.table} in the table, {one.lake} in the lake"

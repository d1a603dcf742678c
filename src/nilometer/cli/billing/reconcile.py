"""`nilometer reconcile`: everything that Stripe has against what we say of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from nilometer.cli.billing.key import stripe_options
from nilometer.cli.recovery.verify import DIFFERENCE
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import DefaultGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.billing.coverage import TypePass
from nilometer.domain.stripe.event import OWN_ACCOUNT, Scope
from nilometer.flows.billing.coverage import cover, coverage
from nilometer.flows.billing.reconcile import ReconcileReport
from nilometer.flows.billing.reconcile import reconcile as compare_all

if TYPE_CHECKING:
    from nilometer.stripe_api.client import StripeApi


@click.group(cls=DefaultGroup, default="run", alone=True)
def reconcile() -> None:
    """Compare all objects at Stripe with the stored ones, and merge the differences.

    \b
    Example:
      nilometer reconcile --dry-run
    """


@reconcile.command()
@click.option("--dry-run", is_flag=True, help="Report only; exit code 3 when something differs.")
@stack_options
@stripe_options
@json_option
def run(connection: Connection, api: StripeApi, scope: Scope, *, dry_run: bool, as_json: bool) -> int:
    """Compare all objects; `run` may be left out.

    Safe at any time, also while events arrive; after a stop, run it again. On AWS this is the nightly reconcile, in
    steps that continue where the last run stopped: `nilometer reconcile status`.

    \b
    Examples:
      nilometer reconcile run --dry-run
      nilometer reconcile run --json | jq '.drift[].object_id'
    """
    report = compare(connection, api, scope, dry_run=dry_run)
    print_report(report, as_json=as_json)
    return DIFFERENCE if dry_run and report.drift else 0


@reconcile.command()
@click.option("--account", metavar="ACCT", help="A Connect account; the platform's own unless given.")
@click.option("--live", is_flag=True, help="Live mode; test mode unless given.")
@stack_options
@json_option
def status(connection: Connection, *, account: str | None, live: bool, as_json: bool) -> int:
    """When each object type was compared last; exit code 3 when one was not compared for 48 hours.

    Every object of a type has been compared since `covered_at`. `started_at` is the start of a pass that is running or
    was stopped; the next run continues it.

    \b
    Example:
      nilometer reconcile status --live
    """
    known = coverage(connection.store(), Scope(account=account or OWN_ACCOUNT, livemode=live))
    overdue = [one.object_type for one in known if one.is_overdue(connection.now)]
    if as_json:
        print_json_lines({**asdict(one), "overdue": one.object_type in overdue} for one in known)
    else:
        out().print(
            table(["object", "covered since", "pass began", ">pages", ">compared", ">drift", ""], map(_row, known))
        )
    if overdue:
        note(f"not compared for 48 hours: {', '.join(overdue)}")
    return DIFFERENCE if overdue else 0


def _row(one: TypePass) -> tuple[object, ...]:
    said = "the key may not read it" if one.refused else "looks for what is missing" if one.listed else ""
    return one.object_type, one.covered_at, one.started_at, one.pages, one.compared, one.drift, said


def compare(connection: Connection, api: StripeApi, scope: Scope, *, dry_run: bool) -> ReconcileReport:
    """With a note a page."""
    report = compare_all(
        connection.store(),
        api,
        scope=scope,
        now=connection.now,
        dry_run=dry_run,
        trust=connection.trust,
        progress=lambda object_type, compared: note(f"{object_type}: {compared:,} compared"),
    )
    if not dry_run:
        cover(connection.store(), scope, connection.now, report)
    return report


def print_report(report: ReconcileReport, *, as_json: bool) -> None:
    """What differed, and what the key could not read."""
    if report.refused:
        note(f"not compared, since the key may not read them: {', '.join(report.refused)}")
    if as_json:
        print_json(asdict(report))
    elif report.drift:
        rows = ((one.object_type, one.object_id, ", ".join(one.fields)) for one in report.drift)
        out().print(table(["object", "id", "~differs in"], rows))
    else:
        note(f"{report.compared:,} compared, nothing differs")

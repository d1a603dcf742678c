"""`nilometer reconcile`: everything that Stripe has against what we say of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from nilometer.cli.billing.key import stripe_options
from nilometer.cli.recovery.verify import DIFFERENCE
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, table
from nilometer.domain.stripe.event import Scope
from nilometer.flows.billing.reconcile import ReconcileReport
from nilometer.flows.billing.reconcile import reconcile as compare_all

if TYPE_CHECKING:
    from nilometer.stripe_api.client import StripeApi


@click.command()
@click.option("--dry-run", is_flag=True, help="Report only; exit code 3 when something differs.")
@stack_options
@stripe_options
@json_option
def reconcile(connection: Connection, api: StripeApi, scope: Scope, *, dry_run: bool, as_json: bool) -> int:
    """Compare all objects that Stripe lists with what its events left, and merge what differs.

    Safe at any time, also while events arrive; stopped, it may be run again. The same runs on AWS every night.

    \b
    Examples:
      nilometer reconcile --dry-run
      nilometer reconcile --json | jq '.drift[].object_id'
    """
    report = compare(connection, api, scope, dry_run=dry_run)
    print_report(report, as_json=as_json)
    return DIFFERENCE if dry_run and report.drift else 0


def compare(connection: Connection, api: StripeApi, scope: Scope, *, dry_run: bool) -> ReconcileReport:
    """With a note a page."""
    return compare_all(
        connection.store(),
        api,
        scope=scope,
        now=connection.now,
        dry_run=dry_run,
        progress=lambda object_type, compared: note(f"{object_type}: {compared:,} compared"),
    )


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

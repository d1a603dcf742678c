"""`nilometer backfill`: fills a system with what Stripe already has, objects or events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from nilometer.cli.billing.key import stripe_options
from nilometer.cli.billing.reconcile import compare, print_report
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, print_json
from nilometer.cli.terminal.times import time_option
from nilometer.domain.stripe.event import Scope
from nilometer.flows.billing import batch as billing
from nilometer.flows.billing.backfill import backfill_events, unknown_events

if TYPE_CHECKING:
    from nilometer.stripe_api.client import StripeApi

DAYS = 30  # Stripe keeps events no longer

_dry_run = click.option("--dry-run", is_flag=True, help="Count only; write nothing.")


@click.group(cls=SectionedGroup)
def backfill() -> None:
    """Load existing Stripe objects and events into a stack."""


@backfill.command()
@_dry_run
@stack_options
@stripe_options
@json_option
def objects(connection: Connection, api: StripeApi, scope: Scope, *, dry_run: bool, as_json: bool) -> None:
    """All objects in their present state: catalog, customers, subscriptions, invoices, charges, disputes, entitlements.

    State from later events stays. After a stop, run it again.

    \b
    Example:
      nilometer backfill objects --dry-run --json | jq '.drift | length'
    """
    print_report(compare(connection, api, scope, dry_run=dry_run), as_json=as_json)


@backfill.command()
@_dry_run
@time_option("--since", help="Events from this time on; Stripe keeps them for 30 days.")
@click.option("--after", metavar="EVENT", help="Continue a stopped run after this event, the last that it printed.")
@stack_options
@stripe_options
@json_option
def events(
    connection: Connection,
    api: StripeApi,
    scope: Scope,  # noqa: ARG001  # events carry their own mode
    *,
    dry_run: bool,
    since: datetime | None,
    after: str | None,
    as_json: bool,
) -> None:
    """Stripe's own events, newest first, as if they were delivered now. Known events are skipped.

    \b
    Examples:
      nilometer backfill events --since 2026-11-01
      nilometer backfill events --after evt_1NilometerLast
    """
    start = int((since or connection.now - timedelta(days=DAYS)).timestamp())
    steps = _counted if dry_run else taken
    total, cursor = 0, after
    for reached, new in steps(connection, api, start, after):
        total, cursor = total + new, reached
        note(f"{total:,} new up to {cursor}")
    if as_json:
        print_json({"new": total, "after": cursor, "dry_run": dry_run})
    else:
        note(f"{total:,} events {'would be new' if dry_run else 'were taken'}")


def taken(connection: Connection, api: StripeApi, since: int, after: str | None) -> Iterator[tuple[str, int]]:
    """A page at a time; `since` is in epoch seconds. It may take hours, so each page is taken at its own time."""
    store, claims = connection.store(), connection.objects()
    return backfill_events(
        api,
        lambda messages: billing.handle(
            messages, store=store, objects=claims, now=datetime.now(UTC), trust=connection.trust
        ),
        since=since,
        after=after,
    )


def _counted(connection: Connection, api: StripeApi, since: int, after: str | None) -> Iterator[tuple[str, int]]:
    store, claims = connection.store(), connection.objects()
    for page in api.events(since=since, after=after):
        if page.objects:
            yield (
                str(page.objects[-1]["id"]),
                unknown_events(store, page.objects, objects=claims, now=datetime.now(UTC)),
            )

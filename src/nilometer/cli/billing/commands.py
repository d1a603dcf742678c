"""`nilometer billing`: what Stripe's events made of each workspace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from nilometer.cli.billing.decide import conflicts, drop, link
from nilometer.cli.billing.reasons import explain, history
from nilometer.cli.billing.show import show
from nilometer.cli.billing.whose import AskedObjects, whose_options
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json_lines, styled, table
from nilometer.domain.store.times import from_epoch
from nilometer.domain.stripe.registers.explain import object_of
from nilometer.flows.billing.reading import list_objects
from nilometer.flows.recovery import overview

_STYLES = {"active": "green", "trialing": "cyan", "past_due": "yellow", "none": "dim"}


@click.group(cls=SectionedGroup)
def billing() -> None:
    """The billing state of each workspace, made from Stripe's events."""


for command in (show, explain, history, conflicts, link, drop):
    billing.add_command(command)


@billing.command(name="list")
@stack_options
@json_option
def list_workspaces(connection: Connection, as_json: bool) -> None:
    """Every workspace with its plan, status, limits, seats, period, cancellation and subscriptions.

    --json prints one object per workspace; a customer without a known workspace has workspace null.

    \b
    Example:
      nilometer billing list --json | jq 'select(.status == "past_due") | .workspace'
    """
    found = overview.billing(connection.store(), now=connection.now)
    if as_json:
        print_json_lines(found)
        return
    rows = list(found)
    if not rows:
        note("no workspace yet; try `nilometer trigger customer.subscription.created --workspace acme`")
        return
    out().print(billing_table(rows))


@billing.command()
@whose_options
@json_option
def objects(*, asked: AskedObjects, as_json: bool) -> None:
    """The state of every known Stripe object, made from its events.

    With --workspace or --customer: customers, subscriptions, schedules, invoices, credit notes, credit grants, payment
    methods and entitlements, which are stored with their customer. Without, the whole table is read. --json prints one
    object per line.

    \b
    Examples:
      nilometer billing objects --workspace acme
      nilometer billing objects --json | jq -r 'select(.object == "invoice") | .id'
    """
    if asked.account and not asked.customer:
        raise click.UsageError("--account says where --customer is; give both")
    registers = asked.registers()
    found = list_objects(asked.store) if registers is None else map(object_of, registers)
    if as_json:
        print_json_lines(found)
        return
    columns = ("object", "id", "status", "deleted", "customer", "livemode", "account")
    rows = sorted(found, key=lambda row: (row["object"], row["id"]))
    out().print(table(columns, ([row[name] for name in columns] for row in rows)))


def billing_table(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Billing records for people: a line a workspace."""
    return table(["workspace", "plan", "status", ">seats", "~limits", "until", "cancels"], map(_cells, rows))


def _cells(row: Mapping[str, Any]) -> list[object]:
    return list(_values(row))


def _values(row: Mapping[str, Any]) -> Iterable[object]:
    status = row["status"]
    yield row["workspace"] or styled(f"{row['customer']} (no workspace)", "dim")
    yield row["plan"]
    yield styled(status, _STYLES.get(status, "red"))
    yield "" if row["seats"] is None else str(row["seats"])
    yield ", ".join(f"{meter} {_limit(limit)}" for meter, limit in row["limits"].items())
    yield _day(row["period"]["end"]) if row["period"] else ""
    yield _cancels(row["cancellation"] or {})


def _limit(limit: Any) -> str:
    return "unlimited" if limit is None else f"{limit:,}"


def _cancels(cancellation: Mapping[str, Any]) -> str:
    if ended := cancellation.get("ended_at"):
        return f"ended {_day(ended)}"
    return f"on {_day(cancellation['cancel_at'])}" if cancellation.get("cancel_at") else ""


def _day(seconds: int) -> str:
    return f"{from_epoch(seconds):%Y-%m-%d}"

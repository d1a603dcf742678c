"""`nilometer meter`: what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import perform_for_all
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table

_FIELDS = ("meter", "unit", "aggregation", "dimensions", "active", "stripe_event_name", "fail_open")

_dimensions = option("--dimension", metavar="NAME", help="A dimension that events may have; repeatable.")
_stripe_event_name = option(metavar="NAME", help="The event name of the meter at Stripe that gets its usage.")


@click.group(cls=SectionedGroup)
def meter() -> None:
    """Define what is counted, and how events are aggregated."""


@meter.command()
@takes(
    nilometer.CreateMeter,
    meter=argument("SLUG"),
    unit=option(help="The unit of the quantities: call, token, gb_hour."),
    aggregation=option(
        type=click.Choice(["sum", "count", "max", "latest", "unique"]),
        help="How events are aggregated; max and latest take snapshots.",
    ),
    dimensions=_dimensions,
    stripe_event_name=_stripe_event_name,
)
@stack_options
@json_option
def create(connection: Connection, deed: nilometer.CreateMeter, as_json: bool) -> None:
    """Create the meter SLUG. Doing it again changes nothing; one that differs is refused.

    \b
    Example:
      nilometer meter create llm_tokens --unit token --aggregation sum --dimension model
    """
    existing = connection.store().get(Table.RECORDS, keys.meter(deed.meter), consistent=True)
    made = perform_for_all(connection, deed)
    note(f"meter {deed.meter} {'exists already' if existing else 'created'}")
    if as_json:
        print_json({**_shown(made), "created": not existing})


@meter.command()
@takes(
    nilometer.UpdateMeter,
    meter=argument("SLUG"),
    dimensions=_dimensions,
    stripe_event_name=_stripe_event_name,
    active=option("--active/--inactive", help="Whether it accepts usage."),
    fail_open=option("--fail-open/--fail-closed", help="Whether usage is allowed when a limit cannot be read."),
)
@stack_options
@json_option
def update(connection: Connection, deed: nilometer.UpdateMeter, as_json: bool) -> None:
    """Change the meter SLUG; options that are not given stay. Unit and aggregation cannot change.

    \b
    Examples:
      nilometer meter update llm_tokens --stripe-event-name llm_tokens
      nilometer meter update llm_tokens --inactive
    """
    if deed == nilometer.UpdateMeter(meter=deed.meter):
        raise click.UsageError("say what to change; see nilometer meter update --help")
    made = perform_for_all(connection, deed)
    note(f"meter {deed.meter} updated")
    if as_json:
        print_json(_shown(made))


@meter.command(name="list")
@stack_options
@json_option
def list_meters(connection: Connection, as_json: bool) -> None:
    """Every meter.

    \b
    Example:
      nilometer meter list --json | jq -r .meter
    """
    show_meters(connection, as_json=as_json)


def show_meters(connection: Connection, *, as_json: bool) -> None:
    """Every meter by its name."""
    found = sorted(connection.store().every("meter"), key=lambda item: str(item["meter"]))
    if as_json:
        print_json_lines(map(_shown, found))
    elif found:
        rows = ({**item, "dimensions": ", ".join(item["dimensions"])} for item in found)
        out().print(table(_FIELDS, ([*_shown(row).values()] for row in rows)))
    else:
        note("no meter yet; create one with `nilometer meter create`")


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item.get(name) for name in _FIELDS}

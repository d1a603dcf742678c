"""`nilometer meter`: what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import OPERATOR
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table

_FIELDS = ("meter", "unit", "aggregation", "dimensions", "active", "stripe_event_name", "fail_open")

_dimensions = click.option(
    "--dimension", "dimensions", multiple=True, metavar="NAME", help="That events may carry; repeatable."
)
_stripe_event_name = click.option(
    "--stripe-event-name", metavar="NAME", help="Of the meter at Stripe that is told of its usage."
)


@click.group(cls=SectionedGroup)
def meter() -> None:
    """Define what is counted, and how many events become one number."""


@meter.command()
@click.argument("slug")
@click.option("--unit", required=True, help="Of the quantities: call, token, gb_hour.")
@click.option(
    "--aggregation",
    type=click.Choice(["sum", "count", "max", "latest", "unique"]),
    required=True,
    help="How events become a number; max and latest are fed by snapshots.",
)
@_dimensions
@_stripe_event_name
@stack_options
@json_option
def create(connection: Connection, slug: str, *, unit: str, aggregation: str, as_json: bool, **given: Any) -> None:
    """Create the meter SLUG. Doing it again changes nothing; one that differs is refused.

    \b
    Example:
      nilometer meter create llm_tokens --unit token --aggregation sum --dimension model
    """
    store = connection.store()
    existing = store.get(Table.RECORDS, keys.meter(slug), consistent=True)
    now = connection.now
    deed = nilometer.CreateMeter(meter=slug, unit=unit, aggregation=aggregation, **given)
    made = nilometer.perform(store, nilometer.operator(OPERATOR), deed, now=now)
    note(f"meter {slug} {'exists already' if existing else 'created'}")
    if as_json:
        print_json({**_shown(made), "created": not existing})


@meter.command()
@click.argument("slug")
@_dimensions
@_stripe_event_name
@click.option("--active/--inactive", default=None, help="Whether it takes usage.")
@click.option("--fail-open/--fail-closed", default=None, help="Whether work goes on when a limit cannot be read.")
@stack_options
@json_option
def update(connection: Connection, slug: str, *, dimensions: tuple[str, ...], as_json: bool, **said: Any) -> None:
    """Change the meter SLUG; what is not given stays. Unit and aggregation are for good.

    \b
    Examples:
      nilometer meter update llm_tokens --stripe-event-name llm_tokens
      nilometer meter update llm_tokens --inactive
    """
    given = {name: value for name, value in said.items() if value is not None}
    given |= {"dimensions": dimensions} if dimensions else {}
    if not given:
        raise click.UsageError("say what to change; see nilometer meter update --help")
    made = nilometer.perform(
        connection.store(),
        nilometer.operator(OPERATOR),
        nilometer.UpdateMeter(meter=slug, **given),
        now=connection.now,
    )
    note(f"meter {slug} updated")
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
    found = sorted(connection.store().scan(Table.RECORDS, kind="meter"), key=lambda item: str(item["meter"]))
    if as_json:
        print_json_lines(map(_shown, found))
    elif found:
        rows = ({**item, "dimensions": ", ".join(item["dimensions"])} for item in found)
        out().print(table(_FIELDS, ([*_shown(row).values()] for row in rows)))
    else:
        note("no meter yet; create one with `nilometer meter create`")


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item.get(name) for name in _FIELDS}

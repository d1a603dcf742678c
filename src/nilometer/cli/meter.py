"""`nilometer meter`: what is counted."""

from __future__ import annotations

import click

from nilometer.cli.connection import Connection, stack_options
from nilometer.cli.output import json_option, note, out, print_json, print_json_lines, table

ACTOR = "nilometer cli"


@click.group()
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
@click.option("--dimension", "dimensions", multiple=True, metavar="NAME", help="That events may carry; repeatable.")
@stack_options
@json_option
def create(
    connection: Connection, slug: str, unit: str, aggregation: str, dimensions: tuple[str, ...], as_json: bool
) -> None:
    """Create the meter SLUG. Doing it again changes nothing; one that differs is refused.

    \b
    Example:
      nilometer meter create llm_tokens --unit token --aggregation sum --dimension model
    """
    from datetime import UTC, datetime

    from nilometer.domain import keys
    from nilometer.domain.writes import Table
    from nilometer.flows import operations

    store = connection.store()
    existing = store.get(Table.RECORDS, keys.meter(slug), consistent=True)
    now = datetime.now(UTC)
    made = operations.create_meter(
        store, slug, unit=unit, aggregation=aggregation, dimensions=dimensions, now=now, actor=ACTOR
    )
    note(f"meter {slug} {'exists already' if existing else 'created'}")
    if as_json:
        shown = {name: made[name] for name in ("meter", "unit", "aggregation", "dimensions", "active")}
        print_json({**shown, "created": not existing})


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
    from nilometer.domain.writes import Table

    found = sorted(connection.store().scan(Table.RECORDS, kind="meter"), key=lambda item: str(item["meter"]))
    names = ("meter", "unit", "aggregation", "dimensions", "active", "stripe_event_name", "fail_open")
    if as_json:
        print_json_lines({name: item.get(name) for name in names} for item in found)
    elif found:
        rows = ({**item, "dimensions": ", ".join(item["dimensions"])} for item in found)
        out().print(table(names, ([row.get(name) for name in names] for row in rows)))
    else:
        note("no meter yet; create one with `nilometer meter create`")

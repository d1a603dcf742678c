"""`nilometer ls` and `nilometer env`: which local stacks run, and what other programs need to use one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import echo, json_option, print_json, print_rows
from nilometer.lake.tables.storage import storage_options
from nilometer.local.plane import discovery
from nilometer.local.plane.discovery import StackDescription


@click.command()
@json_option
def ls(as_json: bool) -> None:
    """The local stacks that are running.

    Those of this user, the newest first. To choose one for a command, give its --port, or --stack with its name.

    \b
    Example:
      nilometer ls --json | jq -r .webhook_url
    """
    rows = [_row(stack) for stack in discovery.running()]
    columns = (">port", "name", "aws_endpoint_url", "~data", ">pid")
    print_rows(columns, rows, as_json=as_json, empty="no local stack runs; start one with `nilometer local`")


def _row(stack: StackDescription) -> dict[str, object]:
    return {
        "port": int(stack.origin.rpartition(":")[2]),
        "name": stack.name,
        "webhook_url": stack.webhook_url,
        "aws_endpoint_url": stack.aws_endpoint_url,
        "data": stack.data,
        "pid": stack.pid,
        "stack_name": stack.stack_name,
    }


@click.command()
@stack_options
@json_option
def env(connection: Connection, as_json: bool) -> None:
    """Print what other programs need to use a stack: endpoint, region, tables, bus, lake.

    Printed as lines for a shell, with the keys of a local stack. --json adds `storage_options`, which Polars,
    pandas and delta-rs take to open the lake. On AWS the credentials stay yours and are not printed.

    \b
    Examples:
      eval "$(nilometer env)" && aws dynamodb scan --table-name "$NILOMETER_RECORDS_TABLE"
      nilometer env --json | jq .storage_options
    """
    variables = _variables(connection.description)
    if as_json:
        print_json({"environment": variables, "storage_options": _options(connection)})
        return
    for name, value in variables.items():
        echo(f"export {name}={shlex.quote(value)}")


def _variables(stack: StackDescription) -> dict[str, str]:
    named: Mapping[str, str | None] = {
        "AWS_DEFAULT_REGION": stack.region,
        **stack.environment,
        "NILOMETER_BUS": stack.bus,
        "NILOMETER_RECORDS_TABLE": stack.records_table,
        "NILOMETER_EVENTS_TABLE": stack.events_table,
        "NILOMETER_LAKE_URI": stack.lake_uri,
        "NILOMETER_WEBHOOK_URL": stack.webhook_url,
    }
    return {name: value for name, value in named.items() if value is not None}


def _options(connection: Connection) -> dict[str, str]:
    """Of a local stack with its keys, which open nothing else; on AWS the region alone."""
    description = connection.description
    if connection.is_local:
        return dict(storage_options(description.environment))
    return {"AWS_REGION": description.region or ""}

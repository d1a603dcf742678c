"""`nilometer workspace`: the tenants."""

from __future__ import annotations

import click

from nilometer.cli.connection import Connection, stack_options
from nilometer.cli.output import json_option, note, print_json

ACTOR = "nilometer cli"


@click.group()
def workspace() -> None:
    """Make workspaces known: usage of an unknown one waits until it is."""


@workspace.command()
@click.argument("workspace_id", metavar="W")
@click.option("--name", help="For people; the id unless given.")
@stack_options
@json_option
def create(connection: Connection, workspace_id: str, name: str | None, as_json: bool) -> None:
    """Create workspace W; usage that waited for it is counted now. Doing it again changes nothing.

    \b
    Example:
      nilometer workspace create acme --name "Acme Ltd"
    """
    from datetime import UTC, datetime

    from nilometer.domain import keys
    from nilometer.domain.writes import Table
    from nilometer.flows import operations

    store = connection.store()
    existing = store.get(Table.RECORDS, keys.workspace(workspace_id), consistent=True)
    wanted = name or (str(existing["name"]) if existing else workspace_id)
    item = operations.create_workspace(store, workspace_id, name=wanted, now=datetime.now(UTC), actor=ACTOR)
    note(f"workspace {workspace_id} {'exists already' if existing else 'created'}")
    if as_json:
        print_json({"workspace": workspace_id, "name": item["name"], "status": item["status"], "created": not existing})

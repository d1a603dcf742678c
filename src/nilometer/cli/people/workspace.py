"""`nilometer workspace`: the tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import OPERATOR, InWorkspace, confirmed, in_workspace, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.acts.act import service
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Table
from nilometer.flows.people import workspaces


@click.group(cls=SectionedGroup)
def workspace() -> None:
    """Create, rename, close and list workspaces.

    Usage of an unknown workspace waits until it is created.
    """


@workspace.command()
@click.argument("workspace_id", metavar="W")
@click.option("--name", help="The displayed name; the id unless given.")
@click.option("--slug", help="Its name in URLs; unique among all workspaces.")
@click.option("--admin", metavar="USER", help="Its first member.")
@stack_options
@json_option
def create(
    connection: Connection, workspace_id: str, name: str | None, slug: str | None, admin: str | None, as_json: bool
) -> None:
    """Create workspace W, and count the usage that waits for it. Doing it again changes nothing.

    \b
    Example:
      nilometer workspace create acme --name "Acme Ltd" --slug acme --admin user_ada
    """
    store = connection.store()
    existing = store.get(Table.RECORDS, keys.workspace(workspace_id), consistent=True)
    wanted = name or (str(existing["name"]) if existing else workspace_id)
    now, caller = connection.now, service(workspace_id, OPERATOR)
    deed = nilometer.CreateWorkspace(name=wanted, slug=slug if admin else None, admin=admin)
    item = nilometer.perform(store, caller, deed, now=now)
    if slug and not admin:
        item = nilometer.perform(store, caller, nilometer.UpdateWorkspace(slug=slug), now=now)
    note(f"workspace {workspace_id} {'exists already' if existing else 'created'}")
    if as_json:
        print_json({"workspace": workspace_id, "name": item["name"], "status": item["status"], "created": not existing})


@workspace.command(name="list")
@stack_options
@json_option
def list_workspaces(connection: Connection, as_json: bool) -> None:
    """Every workspace.

    \b
    Example:
      nilometer workspace list --json | jq -r .workspace
    """
    rows = sorted(map(_row, workspaces.all_workspaces(connection.store())), key=lambda one: one["workspace"])
    if as_json:
        print_json_lines(rows)
        return
    if not rows:
        note("no workspace yet; create one with `nilometer workspace create`")
        return
    columns = ("workspace", "name", "slug", "status", "deleted_at", ">admins")
    out().print(table(columns, ([one[name.removeprefix(">")] for name in columns] for one in rows)))


@workspace.command()
@in_workspace
@json_option
def show(at: InWorkspace, as_json: bool) -> None:
    """Workspace W, deleted or not, and how many Admins it has.

    \b
    Example:
      nilometer workspace show acme
    """
    _said(workspaces.workspace(at.store, at.caller), as_json)


@workspace.command()
@in_workspace
@takes(
    nilometer.UpdateWorkspace,
    name=option(help="For people."),
    slug=option(help="Its name in URLs; unique among all workspaces."),
)
@json_option
def update(at: InWorkspace, deed: nilometer.UpdateWorkspace, as_json: bool) -> None:
    """Give W another name or slug. The old slug becomes free at once.

    \b
    Example:
      nilometer workspace update acme --slug acme-europe
    """
    if deed == nilometer.UpdateWorkspace():
        raise click.UsageError("give --name or --slug")
    _said(at.perform(deed), as_json)


@workspace.command()
@in_workspace
@yes_option
@json_option
def delete(at: InWorkspace, yes: bool, as_json: bool) -> None:
    """Close W for all members. It can be restored for 30 days.

    \b
    Example:
      nilometer workspace delete acme --yes
    """
    confirmed(f"Close workspace {at.caller.workspace_id} for everybody?", yes)
    _said(at.perform(nilometer.UpdateWorkspace(status="deleted")), as_json)


@workspace.command()
@in_workspace
@json_option
def restore(at: InWorkspace, as_json: bool) -> None:
    """Open W again, with its people and its slug.

    \b
    Example:
      nilometer workspace restore acme
    """
    _said(at.perform(nilometer.UpdateWorkspace(status="active")), as_json)


@workspace.command()
@in_workspace
@yes_option
def purge(at: InWorkspace, yes: bool) -> None:
    """Remove the people of W for good, 30 days after it was deleted. Billing, usage and security log stay.

    \b
    Example:
      nilometer workspace purge acme --yes
    """
    confirmed(f"Remove the people of workspace {at.caller.workspace_id} for good?", yes)
    note(f"{workspaces.purge_workspace(at.store, at.caller, now=at.now)} records removed")


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "slug", "status", "deleted_at", "admins", "shards", "updated_at", "actor")
    return {"workspace": item["workspace_id"], **{name: item.get(name) for name in names}}


def _said(item: Mapping[str, Any], as_json: bool) -> None:
    shown = _row(item)
    if as_json:
        print_json(shown)
        return
    out().print(table(["", ""], ([name, value] for name, value in shown.items() if value is not None)))

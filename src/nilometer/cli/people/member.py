"""`nilometer member`: who works in a workspace, as what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, confirmed, in_workspace, row, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.acts.roles import Role
from nilometer.domain.people.membership import Membership
from nilometer.flows.people import members as people
from nilometer.flows.people.workspaces import statuses

ROLES = click.Choice(["Admin", "Manager", "Analyst", "Viewer"], case_sensitive=False)


@click.group(cls=SectionedGroup)
def member() -> None:
    """Members of a workspace and their roles."""


@member.command(name="list")
@in_workspace
@json_option
def list_members(at: InWorkspace, as_json: bool) -> None:
    """Members of workspace W with their roles.

    \b
    Example:
      nilometer member list acme
    """
    _show(people.members(at.store, at.caller), as_json)


@member.command()
@click.argument("user_id", metavar="USER")
@stack_options
@json_option
def workspaces(connection: Connection, user_id: str, as_json: bool) -> None:
    """Workspaces that USER is a member of, and whether they are open.

    \b
    Example:
      nilometer member workspaces user_ada
    """
    store = connection.store()
    found = people.workspaces_of(store, user_id)
    status = statuses(store, (one.workspace_id for one in found))
    _print([{**row(one), "status": status.get(one.workspace_id, "unknown")} for one in found], as_json, "status")


@member.command()
@in_workspace
@takes(nilometer.AddMember, user_id=argument("USER"), role=option())
@json_option
def add(at: InWorkspace, deed: nilometer.AddMember, as_json: bool) -> None:
    """Make USER a member of W. Doing it again changes nothing.

    \b
    Example:
      nilometer member add acme user_ada --role Admin
    """
    _said(at.perform(deed), as_json)


@member.command()
@in_workspace
@click.argument("user_id", metavar="USER")
@click.argument("role", type=ROLES, required=False)
@click.option("--role", "wanted", type=ROLES, help="The same; one of the two.")
@json_option
def role(at: InWorkspace, user_id: str, role: str | None, wanted: str | None, as_json: bool) -> None:
    """Change the ROLE of USER. The last Admin of W cannot get another role.

    \b
    Example:
      nilometer member role acme user_bob --role Analyst
    """
    if (role is None) == (wanted is None):
        raise click.UsageError("give the role once, with --role")
    _said(at.perform(nilometer.ChangeRole(user_id=user_id, role=Role(wanted or role or ""))), as_json)


@member.command()
@in_workspace
@takes(nilometer.RemoveMember, user_id=argument("USER"))
@yes_option
def remove(at: InWorkspace, deed: nilometer.RemoveMember, yes: bool) -> None:
    """Remove USER from W and end the user's sessions. The last Admin cannot be removed.

    \b
    Example:
      nilometer member remove acme user_bob --yes
    """
    confirmed(f"Remove {deed.user_id} from {at.workspace_id}?", yes)
    at.perform(deed)
    note(f"{deed.user_id} is no member of {at.workspace_id}")


def _show(found: Iterable[Membership], as_json: bool) -> None:
    _print([row(one) for one in found], as_json)


def _print(rows: Sequence[Mapping[str, Any]], as_json: bool, *more: str) -> None:
    if as_json:
        print_json_lines(rows)
        return
    if not rows:
        note("nobody")
        return
    columns = ("workspace", "user", "role", "joined_at", *more)
    out().print(table(columns, ([one[name] for name in columns] for one in rows)))


def _said(found: Membership, as_json: bool) -> None:
    note(f"{found.user_id} is {found.role} of {found.workspace_id}")
    if as_json:
        print_json(row(found))

"""`nilometer session`: who is at work in a workspace."""

from __future__ import annotations

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, confirmed, in_workspace, print_issued, row, secret, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import argument, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, print_json, print_rows
from nilometer.flows.people import access


@click.group(cls=SectionedGroup)
def session() -> None:
    """Open, check, list and revoke sessions."""


@session.command(name="open")
@in_workspace
@takes(nilometer.OpenSession, user_id=argument("USER"))
@json_option
def open_(at: InWorkspace, deed: nilometer.OpenSession, as_json: bool) -> None:
    """Open a session of USER in W, as a service does after a login. Its token is printed once.

    \b
    Example:
      nilometer session open acme user_ada
    """
    made = at.issue(deed)
    print_issued(
        made, f"session {made.of.id} until {made.of.expires_at:%Y-%m-%d %H:%M} UTC; its token", as_json=as_json
    )


@session.command()
@stack_options
@json_option
def check(connection: Connection, as_json: bool) -> None:
    """The user, workspace and role of a session token; it is read from stdin, or prompted for. Exit code 1 when not
    valid.

    \b
    Example:
      nilometer session check < token
    """
    caller = access.authenticate(connection.store(), secret(), now=connection.now)
    if as_json:
        print_json(row(caller))
        return
    echo(f"{caller.user_id} is {caller.role} of {caller.workspace_id}")


@session.command(name="list")
@in_workspace
@click.argument("user_id", metavar="USER")
@json_option
def list_sessions(at: InWorkspace, user_id: str, as_json: bool) -> None:
    """Valid sessions of USER in W, the oldest first.

    \b
    Example:
      nilometer session list acme user_ada
    """
    rows = [row(one) for one in access.sessions(at.store, at.caller, user_id=user_id, now=at.now)]
    print_rows(("id", "user", "created_at", "expires_at"), rows, as_json=as_json, empty="no session")


@session.command()
@in_workspace
@click.argument("user_id", metavar="USER")
@click.argument("session_id", metavar="[SESSION]", required=False)
@click.option("--all", "all_", is_flag=True, help="All sessions of USER in W.")
@yes_option
def revoke(at: InWorkspace, user_id: str, session_id: str | None, all_: bool, yes: bool) -> None:
    """End one session of USER in W, or all.

    \b
    Example:
      nilometer session revoke acme user_ada --all --yes
    """
    if all_ == bool(session_id):
        raise click.UsageError("give a session, or --all")
    whose = f"of {user_id} in {at.caller.workspace_id}"
    if session_id:
        confirmed(f"Revoke session {session_id} {whose}?", yes)
        access.revoke_session(at.store, at.caller, session_id, user_id=user_id, now=at.now)
        note(f"session {session_id} is over")
    else:
        confirmed(f"Revoke all sessions {whose}?", yes)
        at.perform(nilometer.EndSessions(user_id=user_id))
        note(f"all sessions {whose} are over")

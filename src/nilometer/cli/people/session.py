"""`nilometer session`: who is at work in a workspace."""

from __future__ import annotations

from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import confirmed, in_workspace, print_issued, row, secret, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_rows


@click.group()
def session() -> None:
    """Open, check, list and revoke sessions."""


@session.command(name="open")
@in_workspace
@click.argument("user_id", metavar="USER")
@json_option
def open_(store: Any, caller: Any, user_id: str, as_json: bool) -> None:
    """Open a session of USER in W, as a service does after a login. Its token is printed now and never again.

    \b
    Example:
      nilometer session open acme user_ada
    """
    from datetime import UTC, datetime

    made = nilometer.issue(store, caller, nilometer.OpenSession(user_id=user_id), now=datetime.now(UTC))
    print_issued(
        made, f"session {made.of.id} until {made.of.expires_at:%Y-%m-%d %H:%M} UTC; its token", as_json=as_json
    )


@session.command()
@stack_options
@json_option
def check(connection: Connection, as_json: bool) -> None:
    """Whose session a token is, where and as what; it comes from stdin, or is asked for. Exit code 1 when not valid.

    \b
    Example:
      nilometer session check < token
    """
    from datetime import UTC, datetime

    from nilometer.flows.people import access

    caller = access.authenticate(connection.store(), secret(), now=datetime.now(UTC))
    if as_json:
        print_json(row(caller))
        return
    out().print(f"{caller.user_id} is {caller.role} of {caller.workspace_id}", markup=False)


@session.command(name="list")
@in_workspace
@click.argument("user_id", metavar="USER")
@json_option
def list_sessions(store: Any, caller: Any, user_id: str, as_json: bool) -> None:
    """Valid sessions of USER in W, the oldest first.

    \b
    Example:
      nilometer session list acme user_ada
    """
    from datetime import UTC, datetime

    from nilometer.flows.people import access

    rows = [row(one) for one in access.sessions(store, caller, user_id=user_id, now=datetime.now(UTC))]
    print_rows(("id", "user", "created_at", "expires_at"), rows, as_json=as_json, empty="no session")


@session.command()
@in_workspace
@click.argument("user_id", metavar="USER")
@click.argument("session_id", metavar="[SESSION]", required=False)
@click.option("--all", "all_", is_flag=True, help="All sessions of USER in W.")
@yes_option
def revoke(store: Any, caller: Any, user_id: str, session_id: str | None, all_: bool, yes: bool) -> None:
    """End one session of USER in W, or all.

    \b
    Example:
      nilometer session revoke acme user_ada --all --yes
    """
    from datetime import UTC, datetime

    from nilometer.flows.people import access

    if all_ == bool(session_id):
        raise click.UsageError("name a session, or say --all")
    now, whose = datetime.now(UTC), f"of {user_id} in {caller.workspace_id}"
    if session_id:
        confirmed(f"Revoke session {session_id} {whose}?", yes)
        access.revoke_session(store, caller, session_id, user_id=user_id, now=now)
        note(f"session {session_id} is over")
    else:
        confirmed(f"Revoke all sessions {whose}?", yes)
        nilometer.perform(store, caller, nilometer.EndSessions(user_id=user_id), now=now)
        note(f"all sessions {whose} are over")

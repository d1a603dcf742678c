"""`nilometer security`: the security log of a workspace."""

from __future__ import annotations

import click

from nilometer.cli.terminal.caller import InWorkspace, in_workspace, row
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, print_json, print_rows
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.flows.people import security as flow


@click.group(cls=SectionedGroup)
def security() -> None:
    """The security log: logins, roles, invitations, tokens, keys."""


@security.command()
@in_workspace
@click.option("--actor", metavar="USER", help="Only actions of this user.")
@click.option("--since", metavar="TIME", help="RFC 3339.")
@click.option("--limit", default=100, show_default=True)
@json_option
def log(at: InWorkspace, actor: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """The security log of W, the newest first. The lake has what is older than 400 days.

    \b
    Example:
      nilometer security log acme --since 2026-11-01T00:00:00Z --json | jq 'select(.action == "login_failed")'
    """
    now, start = at.now, parse_rfc3339(since) if since else None
    if actor:
        found = flow.entries_by(at.store, at.caller, actor, now=now, since=start, limit=limit)
    else:
        found = flow.entries(at.store, at.caller, now=now, since=start, limit=limit)
    rows = [row(one) for one in found]
    columns = ("time", "action", "actor", "subject", "role", "role_before", "object_id", "reason")
    print_rows(columns, rows, as_json=as_json, empty="nothing")


@security.command()
@in_workspace
@click.argument("user_id", metavar="USER")
@json_option
def locked(at: InWorkspace, user_id: str, as_json: bool) -> None:
    """Whether USER is locked out of W after failed logins, and until when.

    \b
    Example:
      nilometer security locked acme user_ada
    """
    until = flow.locked_until(at.store, at.caller, user_id, now=at.now)
    if as_json:
        print_json({"user": user_id, "locked_until": rfc3339(until) if until else None})
        return
    echo(f"{user_id} is locked out until {rfc3339(until)}" if until else f"{user_id} is not locked out")

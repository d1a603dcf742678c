"""`nilometer invite`: who may become a member."""

from __future__ import annotations

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, confirmed, in_workspace, print_issued, row, secret, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.people.invitation import Invitation
from nilometer.flows.people import members as people
from nilometer.flows.people.acting import Issued


@click.group(cls=SectionedGroup)
def invite() -> None:
    """Invite people into a workspace, by a token that is shown once."""


@invite.command()
@in_workspace
@takes(nilometer.Invite, email=argument("EMAIL"), role=option())
@json_option
def create(at: InWorkspace, deed: nilometer.Invite, as_json: bool) -> None:
    """Invite EMAIL into workspace W. Its token is printed once and is valid for 7 days.

    \b
    Example:
      nilometer invite create acme grace@example.com --role Analyst
    """
    _issued(at.issue(deed), as_json)


@invite.command(name="list")
@in_workspace
@json_option
def list_invitations(at: InWorkspace, as_json: bool) -> None:
    """Invitations of W: pending, accepted, declined, revoked or expired.

    \b
    Example:
      nilometer invite list acme --json | jq 'select(.status == "pending")'
    """
    rows = [row(one) for one in people.invitations(at.store, at.caller, now=at.now)]
    if as_json:
        print_json_lines(rows)
        return
    if not rows:
        note("no invitation")
        return
    columns = ("id", "email", "role", "status", "invited_by", "valid_until", "user")
    made = table(columns, ([one[name] for name in columns] for one in rows))
    out().print(made)


@invite.command()
@in_workspace
@takes(nilometer.ResendInvitation, invitation_id=argument("ID"))
@json_option
def resend(at: InWorkspace, deed: nilometer.ResendInvitation, as_json: bool) -> None:
    """Issue a new token and a new expiry for a pending or expired invitation; the old token becomes invalid.

    \b
    Example:
      nilometer invite resend acme 01M844DZG0ZP4ZJFW39KERYDV6
    """
    _issued(at.issue(deed), as_json)


@invite.command()
@in_workspace
@takes(nilometer.RevokeInvitation, invitation_id=argument("ID"))
@yes_option
def revoke(at: InWorkspace, deed: nilometer.RevokeInvitation, yes: bool) -> None:
    """Revoke an invitation.

    \b
    Example:
      nilometer invite revoke acme 01M844DZG0ZP4ZJFW39KERYDV6 --yes
    """
    confirmed(f"Revoke invitation {deed.invitation_id}?", yes)
    at.perform(deed)
    note(f"invitation {deed.invitation_id} is revoked")


@invite.command()
@click.option("--user", "user_id", required=True, metavar="USER", help="Who becomes a member.")
@click.option("--email", required=True, help="The invited address, which belongs to USER.")
@stack_options
@json_option
def accept(connection: Connection, user_id: str, email: str, as_json: bool) -> None:
    """Accept an invitation for USER; the token is read from stdin, or prompted for.

    \b
    Example:
      nilometer invite accept --user user_grace --email grace@example.com < token
    """
    joined = people.accept_invitation(connection.store(), secret(), user_id=user_id, email=email, now=connection.now)
    note(f"{joined.user_id} is {joined.role} of {joined.workspace_id}")
    if as_json:
        print_json(row(joined))


def _issued(made: Issued[Invitation], as_json: bool) -> None:
    print_issued(made, f"invitation {made.of.id} is pending until {made.of.valid_until}; its token", as_json=as_json)

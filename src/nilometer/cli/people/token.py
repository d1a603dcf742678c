"""`nilometer token`: what proves one thing about one user, once."""

from __future__ import annotations

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, in_workspace, print_issued, row, secret
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, print_json
from nilometer.domain.access.token import TokenPurpose
from nilometer.flows.people import access

_purpose = click.option(
    "--purpose", required=True, type=click.Choice(["email_verification", "password_reset"], case_sensitive=False)
)


@click.group(cls=SectionedGroup)
def token() -> None:
    """Issue and use one-time tokens: verification of an address, reset of a password."""


@token.command()
@in_workspace
@click.argument("user_id", metavar="USER")
@_purpose
@json_option
def issue(at: InWorkspace, user_id: str, purpose: str, as_json: bool) -> None:
    """Issue a token for USER in W. It is printed now and never again; only its hash is kept.

    \b
    Example:
      nilometer token issue acme user_ada --purpose password_reset
    """
    wanted = TokenPurpose(purpose)
    made = nilometer.issue(at.store, at.caller, nilometer.IssueToken(user_id=user_id, purpose=wanted), now=at.now)
    print_issued(made, f"{wanted} of {user_id}; it works once and", as_json=as_json)


@token.command()
@stack_options
@_purpose
@json_option
def use(connection: Connection, purpose: str, as_json: bool) -> None:
    """Use a token up and say whose it was; it comes from stdin, or is asked for. Exit code 1 when not valid.

    \b
    Example:
      nilometer token use --purpose password_reset < token
    """
    proved = access.use_token(connection.store(), secret(), purpose=TokenPurpose(purpose), now=connection.now)
    if as_json:
        print_json(row(proved))
        return
    echo(f"{proved.purpose} of {proved.user_id} in {proved.workspace_id}")

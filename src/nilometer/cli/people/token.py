"""`nilometer token`: what proves one thing about one user, once."""

from __future__ import annotations

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, in_workspace, print_issued, row, secret
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, print_json
from nilometer.domain.access.token import TokenPurpose
from nilometer.flows.people import access


@click.group(cls=SectionedGroup)
def token() -> None:
    """Issue and use one-time tokens: verification of an address, reset of a password."""


@token.command()
@in_workspace
@takes(nilometer.IssueToken, user_id=argument("USER"), purpose=option())
@json_option
def issue(at: InWorkspace, deed: nilometer.IssueToken, as_json: bool) -> None:
    """Issue a token for USER in W. It is printed once; only its hash is stored.

    \b
    Example:
      nilometer token issue acme user_ada --purpose password_reset
    """
    print_issued(at.issue(deed), f"{deed.purpose} of {deed.user_id}; it works once and", as_json=as_json)


@token.command()
@stack_options
@click.option("--purpose", required=True, type=click.Choice([*map(str, TokenPurpose)], case_sensitive=False))
@json_option
def use(connection: Connection, purpose: str, as_json: bool) -> None:
    """Use a token, which invalidates it, and print its user. It is read from stdin, or prompted for. Exit code 1 when
    not valid.

    \b
    Example:
      nilometer token use --purpose password_reset < token
    """
    proved = access.use_token(connection.store(), secret(), purpose=TokenPurpose(purpose), now=connection.now)
    if as_json:
        print_json(row(proved))
        return
    echo(f"{proved.purpose} of {proved.user_id} in {proved.workspace_id}")

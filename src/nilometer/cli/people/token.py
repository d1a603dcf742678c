"""`nilometer token`: what proves one thing about one user, once."""

from __future__ import annotations

from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import in_workspace, print_issued, row, secret
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, out, print_json

_purpose = click.option(
    "--purpose", required=True, type=click.Choice(["email_verification", "password_reset"], case_sensitive=False)
)


@click.group()
def token() -> None:
    """Issue and use one-time tokens: verification of an address, reset of a password."""


@token.command()
@in_workspace
@click.argument("user_id", metavar="USER")
@_purpose
@json_option
def issue(store: Any, caller: Any, user_id: str, purpose: str, as_json: bool) -> None:
    """Issue a token for USER in W. It is printed now and never again; only its hash is kept.

    \b
    Example:
      nilometer token issue acme user_ada --purpose password_reset
    """
    from datetime import UTC, datetime

    from nilometer.domain.access.token import Purpose

    wanted = Purpose(purpose)
    made = nilometer.issue(store, caller, nilometer.IssueToken(user_id=user_id, purpose=wanted), now=datetime.now(UTC))
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
    from datetime import UTC, datetime

    from nilometer.domain.access.token import Purpose
    from nilometer.flows.people import access

    proved = access.use_token(connection.store(), secret(), purpose=Purpose(purpose), now=datetime.now(UTC))
    if as_json:
        print_json(row(proved))
        return
    out().print(f"{proved.purpose} of {proved.user_id} in {proved.workspace_id}", markup=False)

"""Who acts from the command line: the operator, who may do all, or a member with what his role allows.

The operator is whom AWS lets at the tables; `--as` is for seeing and doing what one member may.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import note, print_json

if TYPE_CHECKING:
    from nilometer.domain.acts.act import Caller
    from nilometer.flows.people.acting import Issued

OPERATOR = "nilometer cli"
SOURCE = "/nilometer/cli"  # of the CloudEvents that commands publish

_Command = TypeVar("_Command", bound=Callable[..., Any])

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def in_workspace(command: _Command) -> _Command:
    """Takes the workspace W as first argument and hands the command a `store` and a `caller` in it."""

    @connected_in_workspace
    @functools.wraps(command)
    def called(*args: Any, **kwargs: Any) -> Any:
        del kwargs["connection"]
        return command(*args, **kwargs)

    return called  # type: ignore[return-value]  # functools.wraps forgets the type


def connected_in_workspace(command: _Command) -> _Command:
    """The same, with the `connection`: for what is not in the tables alone."""

    @click.argument("workspace_id", metavar="W")
    @click.option("--as", "as_user", metavar="USER", help="Act as this member, with what his role allows.")
    @stack_options
    @functools.wraps(command)
    def called(*args: Any, connection: Connection, workspace_id: str, as_user: str | None, **kwargs: Any) -> Any:
        store = connection.store()
        caller = _caller(store, workspace_id, as_user)
        return command(*args, connection=connection, store=store, caller=caller, **kwargs)

    return called  # type: ignore[return-value]  # functools.wraps forgets the type


def confirmed(question: str, yes: bool) -> None:
    """Asks before what cannot be undone; where nobody can be asked, `--yes` must have said it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: add --yes")
    click.confirm(question, abort=True, err=True)


def secret() -> str:
    """A token, typed unseen or piped in: arguments stay in the shell's history."""
    if sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True))
    return sys.stdin.readline().strip()


def row(found: Any) -> Mapping[str, Any]:
    """A record of the library as an object for people and machines: `workspace` and `user` are ids."""
    names = {"workspace_id": "workspace", "user_id": "user"}
    return {names.get(name, name): value for name, value in asdict(found).items()}


def print_issued(made: Issued[Any], about: str, *, as_json: bool) -> None:
    """A secret, the only time that it is shown: alone on stdout, or with what it is for as JSON."""
    if as_json:
        print_json({**row(made.of), "token": made.token})
        return
    note(f"{about} is shown this once:")
    click.echo(made.token)


def _caller(store: Any, workspace_id: str, as_user: str | None) -> Caller:
    from nilometer.domain.acts.act import service
    from nilometer.flows.people import access

    return access.member_caller(store, workspace_id, as_user) if as_user else service(workspace_id, OPERATOR)

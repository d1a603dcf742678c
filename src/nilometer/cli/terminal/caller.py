"""Who acts from the command line: the operator, who may do all, or a member with what his role allows.

The operator is whom AWS lets at the tables; `--as` is for seeing and doing what one member may.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from nilometer.aws.dynamodb import Store
from nilometer.cli.terminal.completing import workspace_ids
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import echo, note, print_json
from nilometer.domain.acts.act import Caller, operator, service
from nilometer.domain.acts.deed import Deed, Issuing
from nilometer.flows.people import access
from nilometer.flows.people.acting import Issued, issue, perform

OPERATOR = "nilometer cli"
SOURCE = "/nilometer/cli"  # of the CloudEvents that commands publish

_Command = TypeVar("_Command", bound=Callable[..., Any])
_T = TypeVar("_T")

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@dataclass(frozen=True, slots=True)
class InWorkspace:
    """A command's place and person: the stack and its clock, and the caller, whose workspace it is about."""

    connection: Connection
    store: Store
    caller: Caller

    @property
    def now(self) -> datetime:
        """The time of the command, read once."""
        return self.connection.now

    def perform(self, deed: Deed[_T]) -> _T:
        """Its answer, once it is stored."""
        return perform(self.store, self.caller, deed, now=self.now)

    def issue(self, deed: Issuing[_T]) -> Issued[_T]:
        """What it created, with its secret."""
        return issue(self.store, self.caller, deed, now=self.now)

    @property
    def workspace_id(self) -> str:
        """The workspace that the caller acts in."""
        return self.caller.workspace_id


def in_workspace(command: _Command) -> _Command:
    """Takes the workspace W as first argument and hands the command `at`, an `InWorkspace`."""

    @click.argument("workspace_id", metavar="W", shell_complete=workspace_ids)
    @click.option(
        "--as", "as_user", metavar="USER", help="Act as this member, with the permissions of this member's role."
    )
    @stack_options
    @functools.wraps(command)
    def called(*args: Any, connection: Connection, workspace_id: str, as_user: str | None, **kwargs: Any) -> Any:
        store = connection.store()
        caller = access.member_caller(store, workspace_id, as_user) if as_user else service(workspace_id, OPERATOR)
        return command(*args, at=InWorkspace(connection, store, caller), **kwargs)

    return called  # type: ignore[return-value]  # functools.wraps forgets the type


def perform_for_all(connection: Connection, deed: Deed[_T]) -> _T:
    """The answer of a deed of the operator that concerns all workspaces."""
    return perform(connection.store(), operator(OPERATOR), deed, now=connection.now)


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
    echo(made.token)

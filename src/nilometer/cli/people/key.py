"""`nilometer key`: keys of the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import click

from nilometer.cli.terminal.caller import OPERATOR, confirmed, print_issued, row, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, print_rows
from nilometer.domain.access.key import RevokeKey
from nilometer.domain.acts.act import Caller, operator, service
from nilometer.flows.api import keys
from nilometer.flows.people.acting import perform

workspace_option = click.option(
    "--workspace",
    metavar="W",
    help="A key of this workspace; without it, a service key, which may act in all workspaces.",
)


@click.group(cls=SectionedGroup)
def key() -> None:
    """Create, list, rotate and revoke keys of the HTTP API."""


@key.command()
@click.argument("name", metavar="NAME")
@workspace_option
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="A permission of the key, repeatable; * is all of them.",
)
@click.option("--days", type=click.IntRange(min=1), help="Valid for this many days; without it, until it is revoked.")
@stack_options
@json_option
def create(
    connection: Connection, name: str, workspace: str | None, scopes: Sequence[str], days: int | None, as_json: bool
) -> None:
    """Create a key called NAME. It is printed once.

    \b
    Example:
      nilometer key create inference --workspace acme --scope usage.record --scope limit.view
    """
    now = connection.now
    ends_at = now + timedelta(days=days) if days else None
    made = keys.create(connection.store(), _caller(workspace), name=name, scopes=scopes, ends_at=ends_at, now=now)
    print_issued(made, f"key {made.of.id} with {', '.join(made.of.scopes)}; its token", as_json=as_json)


@key.command(name="list")
@workspace_option
@stack_options
@json_option
def list_keys(connection: Connection, workspace: str | None, as_json: bool) -> None:
    """Keys of W, or service keys, the oldest first; last_used_at is exact to the hour.

    \b
    Example:
      nilometer key list --workspace acme
    """
    rows = [row(one) for one in keys.keys_of(connection.store(), _caller(workspace))]
    print_rows(("id", "name", "scopes", "ends_at", "revoked_at", "last_used_at"), rows, as_json=as_json, empty="no key")


@key.command()
@click.argument("key_id", metavar="KEY")
@workspace_option
@click.option(
    "--overlap",
    type=click.IntRange(0, 168),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long the old secret stays valid.",
)
@stack_options
@json_option
def rotate(connection: Connection, key_id: str, workspace: str | None, overlap: int, as_json: bool) -> None:
    """Give KEY, by its id, a new secret. The old one stays valid for the overlap, so that services can switch.

    \b
    Example:
      nilometer key rotate 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --workspace acme
    """
    made = keys.rotate(
        connection.store(), _caller(workspace), key_id, overlap=timedelta(hours=overlap), now=connection.now
    )
    print_issued(made, f"key {key_id} has a new secret; the old one ends in {overlap} h; its token", as_json=as_json)


@key.command()
@click.argument("key_id", metavar="KEY")
@workspace_option
@yes_option
@stack_options
def revoke(connection: Connection, key_id: str, workspace: str | None, yes: bool) -> None:
    """Revoke KEY, by its id, from the next request on.

    \b
    Example:
      nilometer key revoke 01KB4T1M5Y0S9N4F7Q2W8X6ZRD --workspace acme --yes
    """
    confirmed(f"Revoke key {key_id}?", yes)
    perform(connection.store(), _caller(workspace), RevokeKey(key_id=key_id), now=connection.now)
    note(f"key {key_id} is over")


def _caller(workspace: str | None) -> Caller:
    return service(workspace, OPERATOR) if workspace else operator(OPERATOR)

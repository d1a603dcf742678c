"""`nilometer flag`: features that are on for everybody, for some, or for one workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

import nilometer
from nilometer.cli.terminal.caller import InWorkspace, confirmed, in_workspace, perform_for_all, row, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.deeds import argument, option, takes
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.flows.people import flags

_FIELDS = ("flag", "enabled", "rollout", "archived", "description", "updated_at", "actor")
_VALUES = {"on": True, "off": False, "default": None}


@click.group(cls=SectionedGroup)
def flag() -> None:
    """Feature flags: on for all workspaces, for a share of them, or for one."""


@flag.command(name="list")
@stack_options
@json_option
def list_flags(connection: Connection, as_json: bool) -> None:
    """Every flag with its value for all workspaces.

    \b
    Example:
      nilometer flag list --json | jq -r 'select(.rollout > 0) | .flag'
    """
    found = [_shown(item) for item in flags.all_flags(connection.store())]
    if as_json:
        print_json_lines(found)
        return
    if not found:
        note("no flag yet; try `nilometer flag set csv_exports --rollout 25`")
        return
    columns = ("flag", "enabled", ">rollout", "archived", "~description")
    out().print(table(columns, ([one[name.lstrip(">~")] for name in columns] for one in found)))


@flag.command(name="set")
@takes(
    nilometer.SetFlag,
    flag=argument("FLAG"),
    enabled=option("--on/--off", help="On for all workspaces."),
    rollout=option(metavar="PERCENT", help="The percentage of workspaces that have it while it is off."),
    description=option(),
)
@stack_options
@json_option
def set_(connection: Connection, deed: nilometer.SetFlag, as_json: bool) -> None:
    """Set FLAG for all workspaces; options that are not given stay. The first time creates it, off.

    The share of workspaces is stable: a workspace with the feature keeps it while the percentage grows.

    \b
    Example:
      nilometer flag set csv_exports --rollout 25 --description "Exports as CSV"
    """
    _say(perform_for_all(connection, deed), as_json)


@flag.command()
@click.argument("name", metavar="FLAG")
@yes_option
@stack_options
def archive(connection: Connection, name: str, yes: bool) -> None:
    """Switch FLAG off for all workspaces, also where it is overridden; `flag restore` undoes it.

    \b
    Example:
      nilometer flag archive csv_exports --yes
    """
    confirmed(f"Switch {name} off in every workspace?", yes)
    perform_for_all(connection, nilometer.SetFlag(flag=name, archived=True))
    note(f"flag {name} is archived")


@flag.command()
@click.argument("name", metavar="FLAG")
@stack_options
@json_option
def restore(connection: Connection, name: str, as_json: bool) -> None:
    """Restore an archived FLAG with its former value.

    \b
    Example:
      nilometer flag restore csv_exports
    """
    _say(perform_for_all(connection, nilometer.SetFlag(flag=name, archived=False)), as_json)


@flag.command()
@in_workspace
@click.argument("name", metavar="FLAG")
@click.argument("value", type=click.Choice(list(_VALUES)))
@json_option
def override(at: InWorkspace, name: str, value: str, as_json: bool) -> None:
    """Turn FLAG on or off in workspace W only; `default` removes the override.

    \b
    Example:
      nilometer flag override acme csv_exports on
    """
    at.perform(nilometer.OverrideFlag(flag=name, enabled=_VALUES[value]))
    answer = row(flags.explain(at.store, at.caller, name))
    note(_sentence(answer))
    if as_json:
        print_json(answer)


@flag.command()
@click.argument("name", metavar="FLAG")
@stack_options
@json_option
def overrides(connection: Connection, name: str, as_json: bool) -> None:
    """Workspaces that override FLAG.

    \b
    Example:
      nilometer flag overrides csv_exports
    """
    names = {"workspace": "workspace_id", "enabled": "enabled", "updated_at": "updated_at", "actor": "actor"}
    found = [{k: item[v] for k, v in names.items()} for item in flags.overrides(connection.store(), name)]
    if as_json:
        print_json_lines(found)
        return
    if not found:
        note(f"{name} is the same in every workspace")
        return
    out().print(table(list(names), (list(one.values()) for one in found)))


@flag.command()
@in_workspace
@click.argument("name", metavar="[FLAG]", required=False)
@json_option
def explain(at: InWorkspace, name: str | None, as_json: bool) -> None:
    """Whether FLAG is on in workspace W, and why; without FLAG, all of them.

    \b
    Example:
      nilometer flag explain acme csv_exports
    """
    answers = [flags.explain(at.store, at.caller, name)] if name else flags.explain_all(at.store, at.caller)
    found = [row(answer) for answer in answers]
    if as_json:
        print_json_lines(found)
        return
    columns = ("flag", "on", "reason", ">bucket", ">rollout", "changed_by", "changed_at")
    out().print(table(columns, ([one[column.lstrip(">")] for column in columns] for one in found)))


def _say(item: Mapping[str, Any], as_json: bool) -> None:
    found = _shown(item)
    share = f"on in {found['rollout']} % of workspaces" if found["rollout"] else "off"
    note(f"flag {found['flag']} is {'archived' if found['archived'] else 'on' if found['enabled'] else share}")
    if as_json:
        print_json(found)


def _shown(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in _FIELDS}


def _sentence(answer: Mapping[str, Any]) -> str:
    return f"{answer['flag']} is {'on' if answer['on'] else 'off'} in {answer['workspace']} ({answer['reason']})"

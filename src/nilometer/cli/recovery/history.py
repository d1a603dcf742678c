"""`nilometer history show`: the life of a record, from the audit alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, out, print_json_lines, table
from nilometer.cli.terminal.times import time_option

if TYPE_CHECKING:
    from datetime import datetime

    from nilometer.domain.recovery.history import Step

PAGE = 500  # changes in one table


@click.group()
def history() -> None:
    """What a record was, when, by whom and why."""


@history.command()
@click.argument("kind")
@click.argument("key")
@time_option("--as-of", help="What it was then: the changes up to this time.")
@click.option("--diff", is_flag=True, help="Each change with what it changed, before and after.")
@stack_options
@json_option
def show(connection: Connection, kind: str, key: str, *, as_of: datetime | None, diff: bool, as_json: bool) -> None:
    """The changes of the records of KIND (billing, counter, workspace, register ...) that KEY names.

    KEY is a workspace's id, the last part of a key (sub_1, a meter's slug), or pk/sk in full. With --as-of and
    without --diff it prints what the records were then.

    \b
    Examples:
      nilometer history show billing acme --diff
      nilometer history show billing acme --as-of 2026-11-01T00:00:00Z --json
    """
    print_history(connection, kind, key, as_of=as_of, diff=diff, as_json=as_json)


def print_history(
    connection: Connection, kind: str, key: str, *, as_of: datetime | None, diff: bool, as_json: bool
) -> None:
    """The changes, or with `as_of` and without `diff` what the records were then."""
    from nilometer.domain.recovery.history import state
    from nilometer.flows.recovery.history import show as steps_of
    from nilometer.lake.read.ledger import Ledger
    from nilometer.lake.tables.storage import storage_options

    ledger = Ledger(lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ))
    steps = steps_of(kind, key, ledger=ledger, objects=connection.objects(), as_of=as_of)
    if as_of and not diff:
        print_json_lines(record for _, record in state(steps))
    elif as_json:
        print_json_lines(_as_json(step) for step in steps)
    else:
        print_steps(steps, diff=diff)


def print_steps(steps: Iterable[Step], *, diff: bool, page: int = PAGE) -> None:
    """Page by page, because a table is laid out as a whole and a record may have changed very often."""
    rows = iter(_rows(steps, diff=diff))
    shown = list(islice(rows, page))
    while True:
        out().print(table(["when", "what", "by", "because of", "~changed"], shown))
        if not (shown := list(islice(rows, page))):
            return


def _rows(steps: Iterable[Step], *, diff: bool) -> Iterable[tuple[object, ...]]:
    for step in steps:
        when = step.occurred_at.strftime("%Y-%m-%d %H:%M:%S")
        yield when, f"{step.action} {step.key.sk}", step.actor, step.cause, _changed(step, diff=diff)


def _changed(step: Step, *, diff: bool) -> str:
    names = {name: both for name, both in step.fields.items() if name not in {"version", "updated_at", "cause"}}
    if not diff or step.old is None or step.new is None:
        return ", ".join(names)
    return "\n".join(f"{name}: {before} → {after}" for name, (before, after) in names.items())


def _as_json(step: Step) -> dict[str, Any]:
    return {
        "pk": step.key.pk,
        "sk": step.key.sk,
        "occurred_at": step.occurred_at,
        "action": step.action,
        "actor": step.actor,
        "cause": step.cause,
        "changed": {name: {"before": before, "after": after} for name, (before, after) in step.fields.items()},
    }

"""`nilometer history show`: the life of a record, from the audit alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import chain, islice
from typing import Any

import click

from nilometer.cli.lake.ledger import ledger_of
from nilometer.cli.lake.tables import lake_of
from nilometer.cli.terminal.caller import OPERATOR, confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import json_option, lines, note, out, print_json_lines, table
from nilometer.cli.terminal.times import time_option
from nilometer.domain.recovery.history import Step, state
from nilometer.errors import Rejected
from nilometer.flows.recovery.audit_voids import void_change

PAGE = 500  # changes in one table


@click.group(cls=SectionedGroup)
def history() -> None:
    """The history of a record: its values, when, by whom and why."""


@history.command()
@click.argument("kind")
@click.argument("key")
@time_option("--as-of", help="The state at this time: only the changes up to it.")
@click.option("--diff", is_flag=True, help="Each change with its values, before and after.")
@stack_options
@json_option
def show(connection: Connection, kind: str, key: str, *, as_of: datetime | None, diff: bool, as_json: bool) -> None:
    """The changes of the records of KIND (billing, counter, workspace, register ...) with KEY.

    KEY is a workspace's id, the last part of a key (sub_1, a meter's slug), or pk/sk in full. With --as-of and without
    --diff it prints the records as they were at that time.

    \b
    Examples:
      nilometer history show billing acme --diff
      nilometer history show billing acme --as-of 2026-11-01T00:00:00Z --json
    """
    try:
        print_history(connection, kind, key, as_of=as_of, diff=diff, as_json=as_json)
    except Rejected as error:
        if error.reason == "unknown_kind":
            raise click.BadParameter(str(error), param_hint="KIND") from error
        raise


@history.command()
@click.argument("change_id")
@yes_option
@stack_options
def void(connection: Connection, change_id: str, *, yes: bool) -> None:
    """Exclude the row CHANGE_ID of the audit from history, permanently: for a forged row.

    The row stays in the table; history, verify and rebuild skip it once the void is in the lake too.

    \b
    Examples:
      nilometer verify origin
      nilometer history void 5f16c1e2a4b84d0f9a3c7e21b6d85f40 --yes
    """
    confirmed(f"Take the change {change_id} out of history for good?", yes)
    new = void_change(connection.store(), change_id, actor=OPERATOR, now=connection.now)
    note(f"change {change_id} is void" if new else f"change {change_id} was void before")


def print_history(
    connection: Connection, kind: str, key: str, *, as_of: datetime | None, diff: bool, as_json: bool
) -> None:
    """The changes, or with `as_of` and without `diff` what the records were then."""
    from nilometer.flows.recovery.history import show as steps_of

    steps = iter(steps_of(kind, key, ledger=ledger_of(connection), objects=connection.objects(), as_of=as_of))
    first = next(steps, None)
    if first is None:
        _say_nothing_found(connection, kind, key)
        return
    steps = chain([first], steps)
    if as_of and not diff:
        print_json_lines(record for _, record in state(steps))
    elif as_json:
        print_json_lines(_as_json(step) for step in steps)
    else:
        print_steps(steps, diff=diff)


def _say_nothing_found(connection: Connection, kind: str, key: str) -> None:
    """`Rejected` when no record at all is of this kind."""
    from nilometer.lake.read.query import query

    found = query("select distinct kind from audit order by 1", **lake_of(connection))
    kinds = [str(one) for (one,) in found.rows]
    if kinds and kind not in kinds:
        raise Rejected("unknown_kind", f"no record is of the kind {kind!r}; the audit has {', '.join(kinds)}")
    note(f"the audit has no change of {kind} {key}")


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


def _changed(step: Step, *, diff: bool) -> object:
    names = {name: both for name, both in step.fields.items() if name not in {"version", "updated_at", "cause"}}
    if not diff:
        return ", ".join(names)
    if step.old is None or step.new is None:
        only = 0 if step.new is None else 1
        return lines(f"{name}: {both[only]}" for name, both in names.items())
    return lines(f"{name}: {before} → {after}" for name, (before, after) in names.items())


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

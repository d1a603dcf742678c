"""`nilometer usage void` and `recount`: what was wrong, and how to put it right."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import click

from nilometer.cli.terminal.caller import SOURCE, confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, out, print_json, print_json_lines, table
from nilometer.domain.store import keys
from nilometer.domain.store.ulid import ulid
from nilometer.domain.store.writes import Table
from nilometer.domain.usage.counter import CounterName
from nilometer.errors import Rejected
from nilometer.flows.publish.usage import publish, voided
from nilometer.flows.usage import recount as recounting
from nilometer.flows.usage.recount import Recounted
from nilometer.lake.tables.storage import storage_options

DIFFERENCE = 3  # the exit code of a check that found one


@click.command()
@click.option("--source", required=True, metavar="S", help="The source of the voided event.")
@click.option("--id", "event_id", required=True, metavar="ID", help="Its id.")
@click.option("--workspace", required=True, metavar="W", help="The workspace of the voided event.")
@click.option("--reason", help="Stored with the void.")
@stack_options
@json_option
def void(connection: Connection, source: str, event_id: str, workspace: str, reason: str | None, as_json: bool) -> None:
    """Void one usage event, also one that has not arrived yet. Doing it again changes nothing.

    \b
    Example:
      nilometer usage void --source /services/inference --id req_42 --workspace acme --reason "test run"
    """
    now = connection.now
    own_id = ulid(now, secrets.token_bytes(10))
    event = voided(
        own_id, source=SOURCE, workspace_id=workspace, voids_id=event_id, voids_source=source, time=now, reason=reason
    )
    target = connection.store().get(Table.EVENTS, keys.usage_event(source, event_id), consistent=True)
    if target and target["workspace_id"] != workspace:
        raise Rejected("invalid_schema", f"{event_id} is usage of another workspace than {workspace}")
    publish(connection.bus(), [event])
    if as_json:
        print_json({**event, "known": target is not None})
    else:
        note(f"{event_id} is taken back" if target else f"{event_id} has not arrived; it will not count when it does")


@click.command()
@click.argument("workspace", metavar="W")
@click.option("--apply", is_flag=True, help="Correct the counters; without it they are only compared.")
@yes_option
@stack_options
@json_option
def recount(connection: Connection, workspace: str, apply: bool, yes: bool, as_json: bool) -> int:
    """Compare the counters of workspace W with the lake, and correct them with --apply.

    A counter that changed in the last ten minutes is skipped, because the lake may not have all of its usage. Exit code
    3 when something differs and was not corrected.

    \b
    Examples:
      nilometer usage recount acme
      nilometer usage recount acme --apply --yes
    """
    found = _recount(connection, workspace, dry_run=True)
    _left_alone(found)
    if not apply or not found.corrections:
        _show(found, as_json=as_json, made=False)
        return DIFFERENCE if found.corrections or found.uncorrectable else 0
    if not as_json:
        _show(found, as_json=False, made=False)
    confirmed(f"Correct {len(found.corrections)} counters of {workspace}?", yes)
    made = _recount(connection, workspace, dry_run=False)
    _show(made, as_json=as_json, made=True)
    return DIFFERENCE if len(made.corrections) < len(found.corrections) or made.uncorrectable else 0


def _left_alone(found: Recounted) -> None:
    """Why a counter is not compared or cannot be corrected, on standard error."""
    if found.unsettled:
        changed = f"{len(found.unsettled)} counters ({_meters(found.unsettled)})"
        note(f"{changed} changed in the last ten minutes; run it again later")
    if found.uncorrectable:
        stale = f"{len(found.uncorrectable)} counters ({_meters(found.uncorrectable)})"
        note(f"{stale} cannot be corrected: a value that was voided still counts until their period ends")


def _meters(names: Iterable[CounterName]) -> str:
    return ", ".join(sorted({name.meter for name in names}))


def _recount(connection: Connection, workspace: str, *, dry_run: bool) -> Recounted:
    from nilometer.lake.read.ledger import Ledger

    ledger = Ledger(lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ))
    rows = ledger.recount(workspace)
    return recounting.recount(connection.store(), workspace, rows, now=connection.now, dry_run=dry_run)


def _show(found: Recounted, *, as_json: bool, made: bool) -> None:
    rows = [
        {
            "meter": one.name.meter,
            "start": one.name.start.removeprefix("DAY#"),
            "scope": one.name.scope,
            "counted": _exact(one.counted[0]),
            "counted_events": one.counted[1],
            "lake": _exact(one.lake[0]),
            "lake_events": one.lake[1],
            "corrected": made,
        }
        for one in found.corrections
    ]
    if as_json:
        print_json_lines(rows)
    elif rows:
        out().print(table([*rows[0]], map(_values, rows)))
    else:
        rest = "the other counters agree" if found.unsettled or found.uncorrectable else "the counters agree"
        note("nothing was corrected" if made else f"{rest} with the lake")


def _values(row: dict[str, Any]) -> list[Any]:
    return list(row.values())


def _exact(number: Decimal) -> str:
    """Without the zeros that the lake's nine digits end in; `normalize` would round what is longer than 28."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

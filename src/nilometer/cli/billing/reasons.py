"""`nilometer billing explain` and `history`: why an object is in its state, and how a record came to be."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from nilometer.cli.billing.whose import AskedObjects, whose_options
from nilometer.cli.recovery import history as records
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import cell, json_option, note, out, print_json_lines, table
from nilometer.cli.terminal.times import time_option
from nilometer.domain.store.times import from_epoch
from nilometer.flows.billing.objects import explained


@click.command()
@click.argument("object_id")
@whose_options
@json_option
def explain(object_id: str, *, asked: AskedObjects, as_json: bool) -> int:
    """Why a Stripe object is in its state: the events that apply, what each changed, the rule that decided.

    `before` and `after` are digests of the state before and after each event. Exit code 1 when no object has that id.
    Of a subscription, invoice, schedule, payment method, credit note or entitlement say whose it is, by --workspace or
    --customer: else the whole table is read. All others are found by their id.

    \b
    Examples:
      nilometer billing explain sub_1NilometerAcme --workspace acme
      nilometer billing explain cus_NilometerAcme
    """
    found = explained(asked.store, object_id, asked.registers(), account=asked.account)
    if as_json:
        print_json_lines(found)
    elif not found:
        note(f"no object {object_id} is known")
    else:
        for one in found:
            _show(one)
    return 0 if found else 1


@click.command()
@click.argument("workspace", metavar="W")
@time_option("--as-of", help="The state at this time: only the changes up to it.")
@click.option("--diff", is_flag=True, help="Each change with what it changed, before and after.")
@stack_options
@json_option
def history(connection: Connection, workspace: str, *, as_of: datetime | None, diff: bool, as_json: bool) -> None:
    """Every change of the billing of workspace W, with the event that caused it, from the audit alone.

    \b
    Examples:
      nilometer billing history acme --diff
      nilometer billing history acme --as-of 2026-11-01T00:00:00Z --json
    """
    records.print_history(connection, "billing", workspace, as_of=as_of, diff=diff, as_json=as_json)


def _show(found: dict[str, Any]) -> None:
    status = found["state"].get("status") or ("deleted" if found["state"].get("deleted") else "")
    out().print(cell(f"{found['object']} {found['id']} {status}: {found['because']}"))
    columns = ("", "when", "event", "type", "before", "after")
    out().print(table(columns, map(_row, found["evidence"])))
    if found["claims"]:
        named = ("workspace", "rank", "written_by", "object", "outcome")
        rows = ([one[name] for name in named] for one in found["claims"])
        out().print(table(("~pays for", ">rank", "~says", "~in", "~which"), rows))


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    when = f"{from_epoch(int(row['second'])):%Y-%m-%d %H:%M:%S}"
    kind = "asked of Stripe" if row["fetched"] else row["type"]
    return "→" if row["decides"] else "", when, row["event_id"], kind, _digest(row["before"]), _digest(row["after"])


def _digest(value: Any) -> Any:
    """The first characters of a digest, enough to distinguish two."""
    text = value.hex() if isinstance(value, bytes) else value
    return text[:8] if text else None

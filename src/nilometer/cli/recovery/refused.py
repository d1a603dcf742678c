"""`nilometer rejects`: what was refused for good in any flow, why, whose it is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from nilometer.cli.terminal.caller import OPERATOR, confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.groups import SectionedGroup
from nilometer.cli.terminal.output import echo, json_option, note, out, print_json, print_rows, table
from nilometer.cli.terminal.times import time_option
from nilometer.domain.events.waiting import Waiting
from nilometer.domain.recovery.dead_letter import shown
from nilometer.domain.recovery.refused import FLOWS, KeptReject
from nilometer.domain.store.times import rfc3339
from nilometer.flows.recovery.refused import LONGEST_KEPT, Lane, one_of, waiting

_RECENT = timedelta(days=7)
_ID = 12  # characters of an id on a terminal: enough to name one

_flow_option = click.option("--flow", type=click.Choice(FLOWS), help="Only of this flow.")


@click.group(cls=SectionedGroup)
def rejects() -> None:
    """Rejected events and changes of every flow, and what to try.

    A reject changed nothing and is stored with its reason: by billing, usage, operations, notices and datasets for 40
    days, by the lake and the relay of changes for 90.
    """


@rejects.command("list")
@_flow_option
@time_option("--since", help="From the UTC day of this time on; the last 7 days unless given.")
@click.option("--all", "settled", is_flag=True, help="Also rejects that were resent or dismissed.")
@stack_options
@json_option
def list_rejects(
    connection: Connection, flow: str | None, since: datetime | None, settled: bool, as_json: bool
) -> None:
    """Rejects with time, flow, reason, workspace and what to try; the newest first.

    \b
    Examples:
      nilometer rejects list --since 2026-11-20
      nilometer rejects list --json | jq -r '[.flow, .reason] | @tsv' | sort | uniq -c
    """
    found = lane_of(connection).all([flow] if flow else FLOWS, since=since or connection.now - _RECENT, settled=settled)
    columns = ("at", "id", "flow", "reason", "~whose", "~what to try", *(["settled"] if settled else []))
    rows = [_row(one) for one in found]
    if not as_json:
        rows = [{**row, "id": row["id"][:_ID], "what to try": row["advice"]} for row in rows]
    print_rows(columns, rows, as_json=as_json, empty="nothing was refused")


@rejects.command()
@click.argument("reject_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Only the payload, as it arrived, with personal data.")
@stack_options
@json_option
def show(connection: Connection, reject_id: str, raw: bool, as_json: bool) -> None:
    """One reject with its message and its payload, redacted as in the lake. The first characters of ID are enough.

    \b
    Example:
      nilometer rejects show 5a3f9c1e6b7d --raw > event.json
    """
    lane = lane_of(connection)
    one = _named(lane, reject_id)
    payload = lane.payload(one)
    if raw:
        echo(payload)
        return
    known = {**_row(one), "payload": shown(payload)}
    if as_json:
        print_json(known)
    else:
        payload = known.pop("payload")
        out().print(table(["", "~reject"], [(name, value) for name, value in known.items() if value]))
        out().print_json(data=payload, default=str)


@rejects.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@yes_option
@stack_options
@json_option
def resend(connection: Connection, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Send rejects again, unchanged and by the way they arrived; then they are no longer listed.

    Remove the cause first: the reason says what to try. An event that is rejected again is listed again.

    \b
    Example:
      nilometer rejects resend 5a3f9c1e6b7d --yes
    """
    lane = lane_of(connection)
    _act(lane, ids, "resent", lane.resend, yes=yes, as_json=as_json)


@rejects.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@yes_option
@stack_options
@json_option
def dismiss(connection: Connection, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Mark rejects as done: they stay stored, and only --all lists them.

    \b
    Example:
      nilometer rejects dismiss 5a3f9c1e6b7d --yes
    """
    lane = lane_of(connection)
    _act(lane, ids, "dismissed", lane.dismiss, yes=yes, as_json=as_json)


@click.command("waiting")
@stack_options
@json_option
def waiting_(connection: Connection, as_json: bool) -> None:
    """Events that wait for a workspace, a meter or something else that does not exist yet.

    Each with the time since when and until when it waits. The bus keeps no order, so what is missing may still arrive.
    An operation or a batch of rows waits for ten minutes; usage waits a day for its meter and 35 days for its
    workspace. After that it is a reject: `nilometer rejects list`.

    \b
    Example:
      nilometer waiting --json | jq -r '[.flow, .reason, .until] | @tsv'
    """
    found = waiting(connection.store(), now=connection.now)
    columns = ("since", "until", "flow", "reason", ">count", "~whose", "~message")
    print_rows(columns, [_waiting_row(one) for one in found], as_json=as_json, empty="nothing waits")


def _waiting_row(one: Waiting) -> dict[str, Any]:
    names = ("flow", "reason", "message", "count", "event_id", "source", "type", "workspace_id")
    whose = " ".join(filter(None, [one.workspace_id or one.source, one.event_id]))
    times = {"since": rfc3339(one.since), "until": rfc3339(one.until)}
    return {**times, **{name: getattr(one, name) for name in names}, "whose": whose}


def _act(
    lane: Lane,
    ids: Sequence[str],
    done: str,
    act: Callable[..., None],
    *,
    yes: bool,
    as_json: bool,
) -> None:
    meant = [_named(lane, one) for one in ids]
    confirmed(f"{len(meant)} rejects: {', '.join(f'{one.flow} {one.reason} of {one.whose}' for one in meant)}?", yes)
    for one in meant:
        act(one, actor=OPERATOR)
    if as_json:
        print_json({done: len(meant), "ids": [one.id for one in meant]})
    else:
        note(f"{len(meant)} {done}")


def _named(lane: Lane, wanted: str) -> KeptReject:
    return one_of(lane.all(FLOWS, since=lane.now - LONGEST_KEPT, settled=True), wanted)


def lane_of(connection: Connection) -> Lane:
    """Where the rejects of a stack are stored, and how they are sent again."""
    from nilometer.aws.dead_letters import invoke
    from nilometer.aws.sqs import Queue

    def send(queue: str, body: str) -> None:
        Queue(connection.client("sqs"), url=connection.queues()[queue]).send([body])

    def relay(batch: str) -> None:
        name = connection.resources("AWS::Lambda::Function")["ChangesFunction"]
        invoke(connection.functions(), f":function:{name}", batch)

    return Lane(store=connection.store(), objects=connection.objects(), now=connection.now, send=send, relay=relay)


def _row(one: KeptReject) -> dict[str, Any]:
    return {
        "at": rfc3339(one.at),
        "id": one.id,
        "flow": one.flow,
        "reason": one.reason,
        "message": one.message,
        "whose": one.whose,
        "event_id": one.event_id,
        "source": one.source,
        "workspace_id": one.workspace_id,
        "advice": one.advice,
        "settled": one.settled,
    }

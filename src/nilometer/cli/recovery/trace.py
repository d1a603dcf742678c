"""`nilometer trace`: the way of one event."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.recovery.dlq_queues import dead_letter_queues, reasons
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, out, print_json, table
from nilometer.domain.recovery.dead_letter import DeadLetter, Wanted
from nilometer.domain.recovery.trace import Hop, Trace
from nilometer.flows.recovery.dead_letters import look
from nilometer.lake.tables.storage import storage_options

if TYPE_CHECKING:
    from nilometer.flows.recovery.trace import Sources


@click.command()
@click.argument("event", metavar="EVENT_ID")
@click.option("--account", metavar="ACCT", help="The connected account at Stripe; your own unless given.")
@click.option("--workspace", "workspace_id", metavar="W", help="Also search usage that waits until W is created.")
@stack_options
@json_option
def trace(connection: Connection, event: str, account: str | None, workspace_id: str | None, as_json: bool) -> int:
    """Follow one event through every step, from its arrival to the lake.

    Steps are arrival, fact, changes, notifications and the lake; or reject and dead letter. EVENT_ID is Stripe's, or
    SOURCE#ID of an event that a service published; for usage that is in the lake the ID is enough. A record's change
    names one event of its batch; the others are found by the batch. Times are exact to the second or better. Exit code
    1 when the event is not found.

    \b
    Examples:
      nilometer trace evt_1SWfA2KZ9dQ
      nilometer trace "/services/inference#req_42" --json | jq '.hops[] | [.place, .seconds]'
    """
    with err().status("looking ..."):
        found = _followed(connection, event, account=account, workspace_id=workspace_id)
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
    return 0 if found.known else 1


def traced(connection: Connection, event: str) -> dict[str, Any]:
    """What `nilometer trace EVENT --json` prints."""
    return _as_json(_followed(connection, event))


def _followed(
    connection: Connection, event: str, *, account: str | None = None, workspace_id: str | None = None
) -> Trace:
    from nilometer.flows.recovery.trace import trace as follow

    return follow(event, sources(connection), account=account, workspace_id=workspace_id)


def sources(connection: Connection) -> Sources:
    """Where an event of this stack may be found."""
    from nilometer.flows.recovery.trace import Sources
    from nilometer.lake.read.ledger import Ledger

    def dead(event_id: str) -> Iterable[DeadLetter]:
        return look(dead_letter_queues(connection), Wanted(), reasons=reasons(connection), mention=event_id)

    return Sources(
        store=connection.store(),
        ledger=Ledger(lake_uri=connection.description.lake_uri, storage_options=storage_options(os.environ)),
        objects=connection.objects(),
        dead=dead,
        now=connection.now,
    )


def _show(found: Trace) -> None:
    if found.hops:
        rows = ((f"{hop.at:%F %T.%f}"[:-3], _plain(after), hop.place, hop.what) for hop, after in _timed(found))
        out().print(table(["when", ">after", "where", "~what"], rows))
    for gap in found.gaps:
        note(f"not {gap.place}: {gap.meaning}")


def _as_json(found: Trace) -> dict[str, Any]:
    return {
        **asdict(found.identity),
        "known": found.known,
        "hops": [{**asdict(hop), "seconds": after} for hop, after in _timed(found)],
        "gaps": [asdict(gap) for gap in found.gaps],
    }


def _timed(found: Trace) -> Iterator[tuple[Hop, float | None]]:
    """Each hop with the seconds since the one before; none within a second whose order only the places show."""
    first, *_ = found.hops or (None,)
    if first:
        yield first, None
    yield from ((hop, max(0.0, (hop.at - before.at).total_seconds())) for before, hop in pairwise(found.hops))


def _plain(seconds: float | None) -> str:
    return "" if seconds is None else f"+{seconds:,.3f} s"

"""`nilometer replay archive`: what was on the bus, again, by EventBridge."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import product
from typing import Any

import click

from nilometer.aws.eventbridge import Archives, Replay, ReplayProgress
from nilometer.cli.terminal.caller import confirmed, yes_option
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, out, print_json_lines, table
from nilometer.cli.terminal.times import time_option
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Misconfigured
from nilometer.flows.recovery.replay import reachable

RULES = {
    "billing": ("BillingRule", "StripePartnerRule"),
    "usage": ("UsageRule",),
    "operations": ("OperationsRule",),
}
"""The rules of the template that bring each flow its events."""
_PAUSE = 2.0  # seconds between two looks at a replay


@click.command("archive")
@time_option("--since", help="Events that were on the bus from this time on.")
@time_option("--until", help="Up to this time; now unless given.")
@click.option("--flow", "flows", multiple=True, type=click.Choice([*RULES]), help="Only for this flow; repeatable.")
@click.option("--dry-run", is_flag=True, help="Print what would be replayed, start nothing.")
@yes_option
@stack_options
@json_option
def replay_archive(
    connection: Connection,
    *,
    since: datetime | None,
    until: datetime | None,
    flows: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Let EventBridge replay a period from its archives to the queues of the flows, and wait for it.

    Each flow drops duplicates, and gets no event for which it cannot detect them: usage of the last 35 days, operations
    of the last 39; billing merges Stripe's events of any age. Rejected events are tried again. Notices and the lake get
    nothing: the flows send what they need. An archive is some minutes behind; a local stack has none. Exit code 1 when
    a replay failed.

    \b
    Examples:
      nilometer replay archive --stack nilometer-prod --since 2026-11-26T04:00:00Z --dry-run
      nilometer replay archive --stack nilometer-prod --since 2026-11-26T04:00:00Z --flow billing
    """
    if since is None:
        raise click.UsageError("--since is missing: from which time on?")
    archives, now = Archives(connection.client("events")), connection.now
    replays = list(_planned(connection, archives, flows or tuple(RULES), since, until or now, now=now))
    if not as_json:
        _show(replays)
    if replays and not dry_run:
        confirmed(f"Start {len(replays)} replays?", yes)
    ended = {} if dry_run else _run(archives, replays)
    if as_json:
        print_json_lines(_row(replay, ended.get(replay.name)) for replay in replays)
    return 0 if all(one.state == "COMPLETED" for one in ended.values()) else 1


def _planned(
    connection: Connection,
    archives: Archives,
    flows: Sequence[str],
    since: datetime,
    until: datetime,
    *,
    now: datetime,
) -> Iterator[Replay]:
    """One replay a flow and archive, as far back as the flow may be given events again."""
    buses = connection.resources("AWS::Events::EventBus").values()
    kept = {bus: list(archives.of_bus(bus)) for bus in buses}
    if not any(kept.values()):
        raise Misconfigured(
            f"the bus of {connection.description.stack_name} has no archive; see `nilometer replay lake` or use a file"
        )
    ours = connection.resources("AWS::Events::Rule")
    for flow in flows:
        start, why = reachable(flow, since, now=now)
        if why:
            note(f"{flow} from {start:%Y-%m-%d %H:%M} on: {why}")
        names = {ours[rule].rpartition("|")[2] for rule in RULES[flow] if rule in ours}  # `bus|rule`
        for bus in buses if start < until else ():
            rules = [arn for name, arn in archives.rules(bus).items() if name in names]
            for rule, archive in product(rules, kept[bus]):
                name = f"{flow}-{now:%Y%m%dT%H%M%S}-{archive.name}"
                yield Replay(name=name[:64], archive=archive, rule=rule, since=start, until=until)


def _run(archives: Archives, replays: Sequence[Replay]) -> dict[str, ReplayProgress]:
    """All at once; the last progress of each."""
    for replay in replays:
        archives.start(replay)
        note(f"started {replay.name}; it continues without this command (aws events describe-replay)")
    ended: dict[str, ReplayProgress] = {}
    with _shown(replays) as show:
        while len(ended) < len(replays):
            for replay in replays:
                if replay.name not in ended:
                    found = archives.progress(replay)
                    show(replay, found)
                    if found.ended:
                        ended[replay.name] = found
            if len(ended) < len(replays):
                time.sleep(_PAUSE)
    for name, found in ended.items():
        note(f"{name}: {found.state.lower()}{f', {found.reason}' if found.reason else ''}")
    return ended


@contextlib.contextmanager
def _shown(replays: Sequence[Replay]) -> Iterator[Callable[[Replay, ReplayProgress], None]]:
    from rich.progress import Progress as Bars

    with Bars(console=err(), transient=True) as bars:
        tasks = {one.name: bars.add_task(one.name, total=(one.until - one.since).total_seconds()) for one in replays}

        def show(replay: Replay, found: ReplayProgress) -> None:
            reached = found.reached or replay.since
            bars.update(tasks[replay.name], completed=(reached - replay.since).total_seconds())

        yield show


def _show(replays: Sequence[Replay]) -> None:
    rows = [[str(value) for value in _row(replay, None).values()][:-2] for replay in replays]
    out().print(table(["replay", "archive", "since", "until", ">events in the archive"], rows))


def _row(replay: Replay, ended: ReplayProgress | None) -> dict[str, Any]:
    return {
        "replay": replay.name,
        "archive": replay.archive.name,
        "since": rfc3339(replay.since),
        "until": rfc3339(replay.until),
        "archived": replay.archive.events,
        "state": ended.state if ended else None,
        "reason": ended.reason if ended else None,
    }

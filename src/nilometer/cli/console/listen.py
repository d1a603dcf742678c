"""`nilometer listen`, and the lines of `nilometer local`: each event that a function decided on, as it happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import json_option, note, print_json
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.cli.terminal.visible import visible

if TYPE_CHECKING:
    from nilometer.console.events.timeline import Sighting
    from nilometer.console.place import LineFeed

LOOK_SECONDS = 0.2
_DECIDING = ("webhook", "billing", "usage", "operations", "notices", "datasets")
_STYLES = {"accepted": "green", "duplicate": "bright_black", "waiting": "yellow", "rejected": "red", "failed": "red"}
OUTCOMES = tuple(_STYLES)


@click.command()
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only events with this outcome.")
@click.option("--type", "event_type", metavar="TEXT", help="Only events whose type contains this text.")
@stack_options
@json_option
def listen(connection: Connection, outcome: str | None, event_type: str | None, as_json: bool) -> int:
    """Print a line per event as the functions decide on it: when, where, outcome and reason.

    Ends with Ctrl-C. On AWS it reads CloudWatch Logs every two seconds; a line appears there after some seconds.

    \b
    Examples:
      nilometer listen
      nilometer listen --stack nilometer-prod --outcome rejected --json
    """
    from nilometer.cli.console.wiring import feed

    lines = feed(connection)
    list(lines.poll())  # what was before is no news
    note("listening; Ctrl-C stops it")
    with signals_interrupt():
        try:
            while True:
                for one in news(lines):
                    if outcome in {None, one.outcome} and (event_type or "") in (one.type or ""):
                        _print(one, as_json=as_json)
                sys.stdout.flush()
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            return 0


def news(lines: LineFeed) -> Iterator[Sighting]:
    """Of the flows that decide on an event, in the order of time: what passes the others was decided before."""
    from nilometer.console.events.timeline import sightings

    found = (one for line in lines.poll() for one in sightings(line) if one.flow in _DECIDING)
    return iter(sorted(found, key=lambda one: one.at))


def echo_line(one: Sighting) -> None:
    """`05:08:34.661 UTC  usage  accepted  api_calls-01013  aswan`; refusals with their reason."""
    said = [one.type, one.event_id or "", one.workspace_id or "", f"× {one.count}" if one.count > 1 else ""]
    why = f"because: {one.reason}" if one.reason else ""
    at = f"{one.at:%H:%M:%S}.{one.at.microsecond // 1000:03} UTC"
    outcome = click.style(f"{one.outcome:9}", fg=_STYLES.get(one.outcome))
    click.echo(f"{at}  {one.flow:10}  {outcome}  {visible('  '.join(filter(None, [*said, why])))}")


def _print(one: Sighting, *, as_json: bool) -> None:
    if as_json:
        print_json(_row(one))
    else:
        echo_line(one)


def _row(one: Sighting) -> dict[str, object]:
    return {name: value for name, value in asdict(one).items() if name != "key"}

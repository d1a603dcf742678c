"""`nilometer status` and `nilometer wait`: what is on its way."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import click

from nilometer.aws.sqs import waiting
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, out, print_json, table
from nilometer.errors import Unavailable
from nilometer.local.plane.deployed import logical

_DEAD = "DeadLetters-"


@click.command()
@stack_options
@json_option
def status(connection: Connection, as_json: bool) -> None:
    """Messages per queue, dead letters, lag of the streams, and whether all is idle.

    \b
    Example:
      nilometer status --json | jq .dead_letters
    """
    found = reader(connection)()
    if as_json:
        print_json(found)
        return
    out().print(_queues(found))
    for name, lag in ((logical(name), lag) for name, lag in found["streams"].items()):
        out().print(f"stream {name}: {lag} behind" if lag else f"[dim]stream {name}: read to its end[/dim]")
    out().print("[green]idle[/green]" if found["idle"] else "[yellow]busy[/yellow]")


@click.command()
@click.option("--timeout", default=60.0, show_default=True, help="Seconds.")
@stack_options
@json_option
def wait(connection: Connection, timeout: float, as_json: bool) -> None:
    """Return when all sent events are in the tables and in the lake.

    \b
    Example:
      nilometer replay events.ndjson && nilometer wait --timeout 120
    """
    from nilometer.local.stack.idle import await_idle, busy

    with err().status("waiting ...") as spinner:
        found = await_idle(
            reader(connection),
            timeout=timeout,
            pause=0.1 if connection.is_local else 2.0,
            reads=1 if connection.is_local else 3,
            observe=lambda seen: spinner.update(next(busy(seen), "settling ...")),
        )
    dead = sum(found["dead_letters"].values())
    if dead:
        note(f"idle, but {dead} messages are in dead-letter queues; see nilometer dlq list")
    if as_json:
        print_json(found)


def reader(connection: Connection) -> Callable[[], dict[str, Any]]:
    """How to read the status: from the local runner, or from the queues on AWS."""
    if connection.is_local:
        return lambda: _from_runner(connection.description.origin)
    return _from_queues(connection)


def _from_runner(origin: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{origin}/_nilometer/status", timeout=30) as response:  # noqa: S310  # loopback
            return dict(json.load(response))
    except (OSError, ValueError) as error:
        raise Unavailable(f"the local stack at {origin} does not answer: {error}") from error


def _from_queues(connection: Connection) -> Callable[[], dict[str, Any]]:
    """The streams' lag is CloudWatch's IteratorAge on AWS; here it is not known and not waited for."""
    sqs = connection.client("sqs")
    # By physical name, as locally: `prod-BillingQueue-1A2B3C`.
    urls = {url.rpartition("/")[2]: url for url in connection.queues().values()}

    def read() -> dict[str, Any]:
        counts = {name: waiting(sqs, url) for name, url in urls.items()}
        queues = {name: found for name, found in counts.items() if _DEAD not in name}
        dead = {name: found["visible"] for name, found in counts.items() if _DEAD in name}
        idle = not any(sum(found.values()) for found in queues.values())
        return {"queues": queues, "dead_letters": dead, "streams": {}, "idle": idle}

    return read


def _queues(found: dict[str, Any]) -> Any:
    rows: list[tuple[object, ...]] = [
        (logical(name), queue["visible"], queue["in_flight"], queue["delayed"])
        for name, queue in found["queues"].items()
    ]
    rows += [(logical(name), count, "", "") for name, count in found["dead_letters"].items() if count]
    return table(["queue", ">visible", ">in flight", ">delayed"], rows)

"""`nilometer replay FILE`: Stripe events from a file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

import click

from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import err, json_option, note, print_json

if TYPE_CHECKING:
    from nilometer.local.demo.delivery import WebhookDelivery

SHOWN = 20  # refused lines that are named one by one


@click.command("file")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="The number of parallel connections.",
)
@stack_options
@json_option
def replay_file(connection: Connection, file: IO[bytes], connections: int, as_json: bool) -> int:
    """Post the Stripe events of FILE (one JSON per line; - is stdin), signed again, in any order.

    `file` may be left out. Exit code 1 when a line was not accepted; the others are posted nevertheless.

    \b
    Examples:
      nilometer replay file events.ndjson
      stripe events list --limit 100 | jq -c '.data[]' | nilometer replay -
    """
    endpoint = connection.endpoint()
    lines = _ReplayLines(file)
    refused: list[WebhookDelivery] = []
    posted = 0
    with _progress(lines) as advance:
        for delivery in endpoint.deliver_all(lines, connections=connections):
            posted += delivery.taken
            if not delivery.taken:
                refused.append(delivery)
            advance()
    return _report(posted, sorted(refused + lines.bad, key=lambda delivery: delivery.number), as_json)


class _ReplayLines:
    """The events of a file with their line numbers; what is no event is kept in `bad` and not posted."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bad: list[WebhookDelivery] = []
        self.bytes = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        from nilometer.local.demo.delivery import WebhookDelivery

        for number, line in enumerate(self._file, start=1):
            self.bytes += len(line)
            if not line.strip():
                continue
            if wrong := _wrong(line):
                self.bad.append(WebhookDelivery(number=number, status=0, reason=wrong, attempts=0))
            else:
                yield number, line.strip()

    def size(self) -> int | None:
        """`None` for a pipe."""
        with contextlib.suppress(OSError, ValueError):
            known = os.fstat(self._file.fileno())
            return known.st_size if stat.S_ISREG(known.st_mode) else None
        return None


def _wrong(line: bytes) -> str:
    """What keeps the line from being a Stripe event; empty when nothing does."""
    try:
        event = json.loads(line)
    except ValueError as error:
        return f"not JSON: {error}"
    if not isinstance(event, dict) or event.get("object") not in {"event", "v2.core.event"}:
        return "not a Stripe event (its `object` is not `event`)"
    return ""


@contextlib.contextmanager
def _progress(lines: _ReplayLines) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("posting {task.fields[posted]:>6}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err(), transient=True) as progress:
        task = progress.add_task("posting", total=lines.size(), posted=0)
        posted = 0

        def advance() -> None:
            nonlocal posted
            posted += 1
            progress.update(task, completed=lines.bytes, posted=posted)

        yield advance


def _report(posted: int, refused: list[WebhookDelivery], as_json: bool) -> int:
    reasons = Counter(delivery.reason for delivery in refused)
    for delivery in refused[:SHOWN]:
        note(f"line {delivery.number}: {delivery.reason}")
    if len(refused) > SHOWN:
        note(f"... and {len(refused) - SHOWN} more")
    if as_json:
        lines = [delivery.number for delivery in refused]
        print_json({"posted": posted, "refused": len(refused), "reasons": reasons, "lines": lines})
    else:
        note(f"{posted} taken, {len(refused)} not")
    return 1 if refused else 0

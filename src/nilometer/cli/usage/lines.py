"""`nilometer usage send FILE`: usage events, one JSON object a line, checked as the consumer would and published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

from nilometer.aws.eventbridge import Bus
from nilometer.cli.terminal.output import err, note, print_json
from nilometer.domain.usage.event import BATCH
from nilometer.errors import Rejected, Unavailable
from nilometer.flows.publish.usage import publish
from nilometer.flows.usage.events import parse

TOGETHER = 1_000  # events in one request: ten entries of 100
SHOWN = 20  # bad lines that are named; --json has all


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no usage event: nothing of it was sent."""

    line: int
    reason: str
    message: str


class UsageLines:
    """The events of a file, in order; what is none is kept in `bad`. Blank lines are passed over."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bad: list[BadLine] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._file, start=1):
            if not line.strip():
                continue
            try:
                event = _event(line.strip(), datetime.now(UTC))
            except Rejected as error:
                self.bad.append(BadLine(line=number, reason=error.reason, message=str(error)))
            else:
                yield event


def send_lines(bus: Bus, file: IO[bytes], *, as_json: bool) -> int:
    """Publishes every line that is an event and names the others. The exit code: 1 when there were any."""
    lines = UsageLines(file)
    remaining = iter(lines)
    sent = 0
    with err().status("sending") as status:
        while events := list(islice(remaining, TOGETHER)):
            sent = _publish(bus, events, sent)
            status.update(f"{sent:,} sent, {len(lines.bad):,} bad")
    return _report(sent, lines.bad, as_json)


def _publish(bus: Bus, events: Sequence[dict[str, Any]], sent: int) -> int:
    try:
        return sent + publish(bus, events)
    except Unavailable as error:
        raise Unavailable(
            f"{error}; {sent:,} events were sent before. Send the whole file: an id counts once"
        ) from error


def _event(line: bytes, now: datetime) -> dict[str, Any]:
    """`Rejected` by what the consumer checks without the tables."""
    for found in parse(line, arrival=now):
        if found.error:
            raise found.error
    event: dict[str, Any] = json.loads(line)
    if event["type"] == BATCH:
        raise Rejected("invalid_schema", "a batch; write its events, one a line")
    return event


def _report(sent: int, bad: Sequence[BadLine], as_json: bool) -> int:
    for one in bad[:SHOWN]:
        note(f"line {one.line}: {one.reason}: {one.message}")
    if len(bad) > SHOWN:
        note(f"... and {len(bad) - SHOWN:,} more; --json names all")
    if as_json:
        print_json({"sent": sent, "bad": [asdict(one) for one in bad]})
    else:
        note(f"{sent:,} events published, {len(bad):,} lines bad")
    return 1 if bad else 0

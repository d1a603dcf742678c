"""Random events again, each in empty tables: `python benchmarks/reproduce.py [--events 200] [--seed 1]`.

The demo's month is played once and kept running. Half of the events are Stripe's, half are usage. Each is a
`nilometer reproduce` of its own, timed as a person waits for it. Goal: each changes what the audit says, in 30 seconds
or less. Exit code 1 when one does not.

A line an event says what came of it, its seconds and the machine's load. With `--results FILE` what was tried stands
there too and is not tried again; `--from N --count M` tries M events from the N-th on (1 is the first) and
`--minutes N` ends after so long: so it is run in pieces. `--data FOLDER` takes a month that `nilometer demo --keep`
left, `--port N` a local stack that runs. `--one-stack` uses one stack whose tables are emptied in between: many events
in a short time, whose seconds are without the start and the end of a stack.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nilometer.cli.console.reproduce import ON_THE_WAY, delivered
from nilometer.cli.lake.tables import lake_of
from nilometer.cli.recovery.trace import sources
from nilometer.cli.terminal.connection import Connection, on_this_machine
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.errors import NilometerError
from nilometer.flows.recovery.reproduce import as_json, effects, scene
from nilometer.lake.read.bounded import bounded_query
from nilometer.local.stack.stack import Options, Stack, beside

GOAL_SECONDS = 30
PROGRAM = (sys.executable, "-m", "nilometer")
ALL = {
    "Stripe": "select event_id as name from stripe_events order by 1",
    "usage": "select source || '#' || event_id as name from usage where type <> 'usage.moved.v1' order by 1",
}


class Tried(NamedTuple):
    """What came of one event, the seconds from the question to the answer, and the machine's load as it began."""

    name: str
    said: str
    seconds: float
    load: float


def chosen(month: Connection, count: int, seed: int) -> list[str]:
    """The same for the same month and seed, mixed."""
    chance, names, lake = random.Random(seed), [], lake_of(month)
    for sql in ALL.values():
        rows = bounded_query(sql, limit=1_000_000, **lake).rows
        names += chance.sample([str(name) for (name,) in rows], min(count // len(ALL), len(rows)))
    chance.shuffle(names)
    return names


def as_a_person(name: str, month: Connection) -> Tried:
    """By the command itself."""
    port = month.description.origin.rpartition(":")[2]
    began, load = time.monotonic(), os.getloadavg()[0]
    command = (*PROGRAM, "reproduce", name, "--port", port, "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "equal" if done.returncode == 0 else f"exit {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
    return Tried(name, said, time.monotonic() - began, load)


def in_one_stack(name: str, month: Connection, running: Stack) -> Tried:
    """By the command's functions."""
    began, load = time.monotonic(), os.getloadavg()[0]
    try:
        asked = sources(month)
        wrong = [as_json(one) for one in delivered(scene(*effects(name, asked), asked), running) if not one.ok]
        said = f"differs: {json.dumps(wrong)[:2000]}" if wrong else "equal"
    except NilometerError as error:
        said = str(error)
    return Tried(name, said, time.monotonic() - began, load)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--from", type=int, default=1, dest="first")
    options.add_argument("--count", type=int)
    options.add_argument("--minutes", type=float, default=float("inf"))
    options.add_argument("--one-stack", action="store_true")
    options.add_argument("--results")
    options.add_argument("--data")
    options.add_argument("--port", type=int)
    wanted = options.parse_args()
    known = results(wanted.results)
    with signals_interrupt(), played(wanted) as port, ExitStack() as parts:
        month, ends = on_this_machine(port, None), time.monotonic() + wanted.minutes * 60
        again = partial(as_a_person, month=month)
        if wanted.one_stack:
            first = {name for way in ON_THE_WAY.values() for name in way}
            running = parts.enter_context(beside(Options(port=0, aws_port=0), first=lambda: first))
            again = partial(in_one_stack, month=month, running=running)
        names = chosen(month, wanted.events, wanted.seed)[wanted.first - 1 :][: wanted.count]
        for number, name in enumerate(names, wanted.first):
            if name in known:
                continue
            if time.monotonic() > ends:
                break
            one = known[name] = again(name)
            print(f"{number:>3} {name:<44}{one.seconds:6.1f} s  load {one.load:4.1f}  {one.said}", flush=True)
            note(wanted.results, one)
    return judged(list(known.values()))


def judged(known: Sequence[Tried]) -> int:
    """0 when each is equal and quick enough."""
    if not known:
        return 0
    equal, seconds = sum(one.said == "equal" for one in known), [one.seconds for one in known]
    slowest, half, load = max(seconds), statistics.median(seconds), statistics.median(one.load for one in known)
    print(f"{equal} of {len(known)} equal   goal all")
    print(f"median {half:.1f} s, slowest {slowest:.1f} s at a load of {load:.1f}   goal {GOAL_SECONDS} s")
    return int(equal < len(known) or slowest > GOAL_SECONDS)


@contextmanager
def played(wanted: argparse.Namespace) -> Iterator[int]:
    """The port of a local stack that holds a month."""
    if wanted.port:
        yield wanted.port
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = wanted.data or str(Path(temporary, "month"))
        if not wanted.data:
            subprocess.run((*PROGRAM, "demo", "--keep", folder, "--json"), check=True, capture_output=True)
        command = (*PROGRAM, "local", "--data", folder, "--port", "0", "--aws-port", "0", "--quiet", "--json")
        local = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert local.stdout
            about: dict[str, Any] = json.loads(local.stdout.readline())
            yield int(about["webhook_url"].removesuffix("/webhooks/stripe").rpartition(":")[2])
        finally:
            local.terminate()
            local.wait(60)


def note(file: str | None, one: Tried) -> None:
    if file:
        with Path(file).open("a") as lines:
            lines.write(json.dumps(one) + "\n")


def results(file: str | None) -> dict[str, Tried]:
    """By event."""
    if not file or not Path(file).exists():
        return {}
    return {one.name: one for one in (Tried(*json.loads(line)) for line in Path(file).read_text().splitlines())}


if __name__ == "__main__":
    sys.exit(main())

"""Random events again, each in empty tables: `python benchmarks/reproduce.py [--events 200] [--seed 1]`.

The demo's month is played once and kept running. Half of the events are Stripe's, half are usage. Each is done again
by the functions of `nilometer reproduce`, but in one stack whose tables are emptied in between: the start and the end
of a stack are measured once and added to every event. Goal: each changes what the audit says, in 30 seconds or less.
Exit code 1 when one does not.

`--at-once 2` uses two stacks, which is shorter in all and longer for each event. `--data FOLDER` takes a month that
`nilometer demo --keep` left, `--port N` a local stack that runs. With `--results FILE` what was tried stands there and
is not tried again, and `--minutes N` ends after so long: so it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from nilometer.cli.console.reproduce import delivered
from nilometer.cli.lake.tables import lake_of
from nilometer.cli.recovery.trace import sources
from nilometer.cli.terminal.connection import Connection, on_this_machine
from nilometer.cli.terminal.signals import signals_interrupt
from nilometer.errors import NilometerError
from nilometer.flows.recovery.reproduce import as_json, scene
from nilometer.lake.read.bounded import bounded_query
from nilometer.local.stack.stack import Options, Stack, stack

GOAL_SECONDS = 30
ALL = {
    "Stripe": "select event_id as name from stripe_events order by 1",
    "usage": "select source || '#' || event_id as name from usage where type <> 'usage.moved.v1' order by 1",
}


def chosen(month: Connection, count: int, seed: int) -> list[str]:
    """The same for the same month and seed, mixed."""
    chance, names, lake = random.Random(seed), [], lake_of(month)
    for sql in ALL.values():
        rows = bounded_query(sql, limit=1_000_000, **lake).rows
        names += chance.sample([str(name) for (name,) in rows], min(count // len(ALL), len(rows)))
    chance.shuffle(names)
    return names


def tried(name: str, month: Connection, running: Stack) -> tuple[str, float]:
    """What came of it, and the seconds from the question to the answer."""
    began = time.monotonic()
    try:
        wrong = [as_json(one) for one in delivered(scene(name, sources(month)), running) if not one.ok]
    except NilometerError as error:
        return str(error), time.monotonic() - began
    return f"differs: {json.dumps(wrong)[:2000]}" if wrong else "equal", time.monotonic() - began


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--minutes", type=float, default=float("inf"))
    options.add_argument("--at-once", type=int, default=1)
    options.add_argument("--results")
    options.add_argument("--data")
    options.add_argument("--port", type=int)
    wanted = options.parse_args()
    known = results(wanted.results)
    with signals_interrupt(), played(wanted) as port, ExitStack() as stacks:
        month, began = on_this_machine(port, None), time.monotonic()
        idle: SimpleQueue[Stack] = SimpleQueue()
        for _ in range(wanted.at_once):
            idle.put(stacks.enter_context(stack(Options(port=0, aws_port=0))))
        around = (time.monotonic() - began) / wanted.at_once
        ends = time.monotonic() + wanted.minutes * 60

        def one(name: str) -> None:
            if time.monotonic() > ends:
                return
            running = idle.get()
            known[name] = tried(name, month, running)
            idle.put(running)
            print(f"{name:<44}{known[name][1]:6.1f} s   {known[name][0]}", flush=True)
            note(wanted.results, name, *known[name])

        with ThreadPoolExecutor(wanted.at_once) as pool:
            left = [name for name in chosen(month, wanted.events, wanted.seed) if name not in known]
            list(pool.map(one, left))
        began = time.monotonic()
        stacks.pop_all().close()
        around += (time.monotonic() - began) / wanted.at_once
    return judged(known, around)


def judged(known: dict[str, tuple[str, float]], around: float) -> int:
    """`around` are the seconds of a stack's start and end."""
    equal, slowest = sum(said == "equal" for said, _ in known.values()), max(took for _, took in known.values())
    print(f"{equal} of {len(known)} equal   goal all")
    print(
        f"slowest {slowest + around:.1f} s, of them {around:.1f} s start and end of the stack   goal {GOAL_SECONDS} s"
    )
    return int(equal < len(known) or slowest + around > GOAL_SECONDS)


@contextmanager
def played(wanted: argparse.Namespace) -> Iterator[int]:
    """The port of a local stack that holds a month."""
    if wanted.port:
        yield wanted.port
        return
    program = (sys.executable, "-m", "nilometer")
    with tempfile.TemporaryDirectory() as temporary:
        folder = wanted.data or str(Path(temporary, "month"))
        if not wanted.data:
            subprocess.run((*program, "demo", "--keep", folder, "--json"), check=True, capture_output=True)
        command = (*program, "local", "--data", folder, "--port", "0", "--aws-port", "0", "--quiet", "--json")
        local = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert local.stdout
            about: dict[str, Any] = json.loads(local.stdout.readline())
            yield int(about["webhook_url"].removesuffix("/webhooks/stripe").rpartition(":")[2])
        finally:
            local.terminate()
            local.wait(60)


def note(file: str | None, name: str, said: str, took: float) -> None:
    if file:
        with Path(file).open("a") as lines:
            lines.write(json.dumps([name, said, took]) + "\n")


def results(file: str | None) -> dict[str, tuple[str, float]]:
    """By event: what came of it, and its seconds."""
    if not file or not Path(file).exists():
        return {}
    return {name: (said, took) for name, said, took in map(json.loads, Path(file).read_text().splitlines())}


if __name__ == "__main__":
    sys.exit(main())

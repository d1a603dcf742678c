"""The simulation by hand: `python -m tests.simulation --help`."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing import Pool
from typing import Any

from tests.support.simulation.days.company import day
from tests.support.simulation.drills.matrix import MATRIX, lines
from tests.support.simulation.kernel.choices import Answers
from tests.support.simulation.kernel.scope import explore, story
from tests.support.simulation.kernel.shrinking import shrunk
from tests.support.simulation.kernel.world import LawBroken
from tests.support.simulation.scopes.catalog import BY_NAME, SCOPES
from tests.support.simulation.teeth.verdicts import judge_all

FIXED = {"PYTHONHASHSEED": "0"}
CHUNK = 25  # seeds that a process takes at a time
CHUNKS = 4  # of them before it ends


def main(arguments: Sequence[str]) -> int:
    """0 when no law was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("day", help="play one seed; if it breaks a law, shrink it and tell its story")
    one.add_argument("seed", type=int)
    many = commands.add_parser("days", help="play many seeds, on several processors")
    many.add_argument("count", type=int)
    many.add_argument("--first", type=int, default=0)
    many.add_argument("--jobs", type=int, default=2)
    scope = commands.add_parser("scope", help="try every schedule of one scope, or of all")
    scope.add_argument("name", nargs="?", choices=[*BY_NAME], metavar="NAME")
    scope.add_argument("--faults", type=int, help="at most so many faults, in the place of the scope's own number")
    scope.add_argument("--unpruned", action="store_true", help="without pruning: the same verdict, much slower")
    teeth = commands.add_parser(
        "teeth", help="judge the planted bugs that are new or no longer found, and write the list"
    )
    teeth.add_argument("--all", action="store_true", help="judge every one anew")
    drills = commands.add_parser("drills", help="take each service away, slow and throttled, in played time")
    drills.add_argument("service", nargs="?", help="this one alone")
    drills.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args(arguments)
    if given.command == "drills":
        return _drills(given.service, given.jobs)
    if given.command == "day":
        return _day(given.seed)
    if given.command == "teeth":
        return judge_all(say, anew=given.all)
    if given.command == "days":
        return _days(given.first, given.count, given.jobs)
    return _scopes([BY_NAME[given.name]] if given.name else SCOPES, given.faults, pruned=not given.unpruned)


def say(line: str) -> None:
    print(line, flush=True)


def _broken(seed: int, answers: Answers | None = None, lines: list[str] | None = None) -> tuple[str, Answers]:
    """The law that a day breaks ("" for none), and what was not calm in it."""
    taken: dict[str, int] = {}
    try:
        day(seed, answers, lines, taken)
    except LawBroken as error:
        return str(error), taken
    return "", taken


def _day(seed: int) -> int:
    broken, answers = _broken(seed)
    if not broken:
        say(f"seed {seed}: {len(answers)} choices were not calm, and no law is broken")
        return 0
    say(f"seed {seed} breaks a law: {broken}\nshrinking {len(answers)} choices ...")
    fewest = shrunk(answers, lambda some: _broken(seed, some)[0])
    lines: list[str] = []
    broken, _ = _broken(seed, fewest, lines)
    _tell(lines, fewest, broken)
    return 1


def _tell(lines: Iterable[str], answers: Answers, broken: str) -> None:
    for line in lines:
        say(line)
    say(f"→ {broken}\nwhat was not calm: {answers}")


def _failing(seeds: Sequence[int]) -> list[tuple[int, str]]:
    gc.disable()  # what the days leave behind goes with the process, which is not for many
    return [(seed, broken) for seed in seeds if (broken := _broken(seed)[0])]


def _days(first: int, count: int, jobs: int) -> int:
    began, bad = time.perf_counter(), 0
    gc.freeze()  # what is imported is not looked through again and again
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with Pool(jobs, maxtasksperchild=CHUNKS) as pool:
        for found in pool.imap(_failing, chunks):
            bad += len(found)
            for seed, broken in found:
                say(f"seed {seed} breaks a law: {broken}; its story: python -m tests.simulation day {seed}")
    seconds = time.perf_counter() - began
    say(f"{count} seeds from {first} in {seconds:.0f} s on {jobs} processes; {bad} break a law")
    return int(bad > 0)


def _drills(service: str | None, jobs: int) -> int:
    bad = 0
    for line in lines([one for one in MATRIX if service in {None, one.service}], jobs):
        bad += "BROKEN" in line
        say(line)
    return int(bad > 0)


def _scopes(scopes: Iterable[Any], faults: int | None, *, pruned: bool) -> int:
    total, bad = 0, 0
    for scope in scopes:
        found = explore(scope, faults=faults, pruned=pruned)
        total += found.schedules
        bad += bool(found.broken)
        limit = scope.faults if faults is None else faults
        say(
            f"{scope.name:48} {limit} faults {found.schedules:7,} schedules, {found.pruned:7,} pruned,"
            f" {found.states:7,} states, {found.seconds:5.1f} s of CPU, {sum(found.broken.values())} broken"
        )
        if found.broken:
            lines, broken = story(scope, found.first)
            _tell(lines, found.first, broken)
    say(f"{total:,} schedules")
    return int(bad > 0)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets are in the same order in every process: a seed is one day
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, **FIXED})  # noqa: S606  # itself
    sys.exit(main(sys.argv[1:]))

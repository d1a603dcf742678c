"""`nilometer doctor`: is everything as it must be, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import click

from nilometer.cli.stack.doctor_lake import lake, protection
from nilometer.cli.stack.doctor_machine import machine
from nilometer.cli.stack.doctor_stack import checks
from nilometer.cli.stack.finding import Finding, Verdict, fail, guarded, ok
from nilometer.cli.terminal.connection import Connection, stack_choice
from nilometer.cli.terminal.output import json_option, note, out, print_json_lines, table
from nilometer.errors import Misconfigured

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red", Verdict.SKIP: "dim"}


@click.command()
@click.option("--api-base", metavar="URL", help="Where Stripe's API is; for tests.")
@stack_choice
@json_option
def doctor(find_stack: Callable[[], Connection], *, api_base: str | None, as_json: bool) -> int:
    """Check a stack from identity to clock, and say how to repair what is wrong.

    Checks machine, identity, tables, secrets, queues, streams, lake and clock; exit code 1 when a check fails. Reads
    only, and shows no secret. One line per check: its name, its verdict, what was found, what to do.

    \b
    Examples:
      nilometer doctor
      nilometer doctor --stack nilometer-prod --json | jq 'select(.verdict == "fail")'
    """
    found = list(_findings(find_stack, api_base))
    if as_json:
        print_json_lines(asdict(finding) for finding in found)
    else:
        out().print(table(["check", "", "~found", "~what to do"], [_row(finding) for finding in found]))
    failed = [finding.check for finding in found if finding.verdict is Verdict.FAIL]
    if failed and not as_json:
        note(f"{len(failed)} of {len(found)} checks failed: {', '.join(failed)}")
    return int(bool(failed))


def _findings(find_stack: Callable[[], Connection], api_base: str | None) -> Iterator[Finding]:
    yield from machine()
    try:
        connection = find_stack()
    except Misconfigured as error:
        yield fail("stack", str(error), "Start or name one; all that follows needs it.")
        return
    yield ok("stack", f"{connection.description.stack_name} {'here' if connection.is_local else 'on AWS'}")
    lakes = (("protection", lambda: protection(connection)), ("lake", lambda: lake(connection)))
    for name, look in (*checks(connection, api_base), *lakes):
        yield from guarded(name, look)


def _row(finding: Finding) -> tuple[object, ...]:
    from rich.text import Text

    return finding.check, Text(finding.verdict, _COLOURS[finding.verdict]), finding.found, finding.advice

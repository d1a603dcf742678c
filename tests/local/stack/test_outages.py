"""The bus is away for longer than any count of tries, comes back, and nobody does anything: over the real pollers.

All other services and kinds of trouble are tests/simulation/test_drills.py and `make drills`. Time is played here: a
stream's batch waits a fifth of a second between its tries where Lambda would wait ten, so what takes a minute here is
about an hour there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.command_line import CommandLine

import nilometer
from nilometer.aws.dynamodb import Store
from nilometer.aws.eventbridge import Bus
from nilometer.local.plane.deployed import logical
from nilometer.local.sources import streams
from nilometer.local.stack.idle import await_idle
from nilometer.local.stack.stack import Options, Stack, stack

OLD_BOUND = 8  # tries, after which a record was given up once
WORKSPACES = ("ws_one", "ws_three", "ws_two")


def until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def tries(running: Stack, table: str) -> int:
    """Calls of the relay for a table's stream."""
    functions = running.runner.status().functions.items()
    [used] = [function.used for name, function in functions if logical(name) == "ChangesFunction"]
    return sum(one.invocations for source, one in used.items() if logical(source) == table)


def open_workspaces(running: Stack) -> None:
    """Each is a change of the table of records."""
    about, now = running.description, datetime.now(UTC)
    store = Store(running.client("dynamodb"), records=about.records_table, events=about.events_table)
    for workspace_id in WORKSPACES:
        opening = nilometer.CreateWorkspace(name=workspace_id)
        nilometer.perform(store, nilometer.service(workspace_id, "accounts"), opening, now=now)


def send_usage(running: Stack) -> None:
    """Each is a fact in the table of events, which goes to a queue of the lake."""
    bus = Bus(running.client("events"), name=running.description.bus)
    source, now = "/services/outage", datetime.now(UTC)
    events = [
        nilometer.recorded(
            f"of_{one}", source=source, workspace_id=one, meter="api_calls", unit="call", quantity=3, time=now
        )
        for one in WORKSPACES
    ]
    nilometer.publish(bus, events)


def test_what_the_relay_needs_is_away_for_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given up, and then lake and tables are equal."""
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(streams, "LONGEST_RETRY_SECONDS", 0.2)
    line = CommandLine(tmp_path / "run")
    with stack(Options(port=0, aws_port=0, counted=True)) as running:
        assert running.counter
        await_idle(running.status, timeout=120)
        before = tries(running, "RecordsTable")
        running.counter.refuse("events PutEvents")
        open_workspaces(running)
        until(lambda: tries(running, "RecordsTable") > before + OLD_BOUND + 2, seconds=150)
        running.counter.refuse()
        send_usage(running)

        await_idle(running.status, timeout=150)
        given_up = running.client("s3").list_objects_v2(Bucket=running.description.lake_bucket, Prefix="aws/lambda/")
        audit = line("query", "select distinct workspace_id from audit where kind = 'workspace' order by 1", "--json")
        usage = line("query", "select distinct workspace_id from usage order by 1", "--json")
        verified = line("verify", "--grace", "0")

    assert "Contents" not in given_up
    for rows in (audit, usage):
        assert [row["workspace_id"] for row in rows.lines] == list(WORKSPACES)
    assert verified.code == 0, verified.out + verified.err

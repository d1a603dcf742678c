"""Lines of events in a terminal, and the console that `nilometer local` starts when somebody looks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.command_line import CommandLine, Local
from tests.support.stack.visit import Visit

from nilometer.cli.console import listen


@pytest.fixture
def lines(nilometer: CommandLine, month: Local) -> Iterator[Any]:
    """Starts `nilometer listen`, and reads its lines."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        port = month.about["webhook_url"].rpartition(":")[2].partition("/")[0]
        command = [sys.executable, "-m", "nilometer", "listen", "--port", port, *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=nilometer.environment)
        running.append(process)
        assert process.stderr
        assert "listening" in process.stderr.readline()
        return process

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_an_event_is_a_line_with_its_outcome(lines: Any, ask: Any) -> None:
    """For people and as JSON; only what the filter leaves."""
    told = lines("--json", "--type", "customer.created")
    ask("trigger", "product.created")
    event = ask("trigger", "customer.created", "--json").json

    both = [json.loads(told.stdout.readline()) for _ in range(2)]  # at the same moment, in either order

    assert sorted((line["flow"], line["outcome"], line["event_id"]) for line in both) == [
        ("billing", "accepted", event["id"]),
        ("webhook", "accepted", event["id"]),
    ]


def test_what_an_event_holds_moves_no_cursor(capsys: Any) -> None:
    """An escape sequence in an id is shown."""

    class Feed:
        def poll(self) -> list[str]:
            said = {"message": "usage.rejected", "timestamp": "2026-11-29 05:08:01,123+0000", "reason": "unknown_meter"}
            return [json.dumps({**said, "event_id": "\x1b[2Jgone", "source": "/s"})]

    [one] = listen.news(Feed())
    listen.echo_line(one)

    said = capsys.readouterr().out
    assert said == "05:08:01.123 UTC  usage       rejected   ␛[2Jgone  because: unknown_meter\n"


def test_local_tells_each_event_and_ends_with_its_console(alone: Any) -> None:
    """A line an event on stdout; the console is a process of its own that ends with the stack."""
    command = [sys.executable, "-m", "nilometer", "local", "--port", "0", "--aws-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=alone.environment)
    assert process.stdout
    shown = iter(process.stdout.readline, "")
    origin = next(line for line in shown if "console" in line).split()[-1].rstrip("/")
    event = alone("trigger", "customer.created", "--json").json
    line = next(line for line in shown if event["id"] in line)
    console = Visit(origin).get("/").headers["location"].rstrip("/")
    assert Visit(console).get("/").status == 200
    family = Local(process, {}).family()

    process.send_signal(signal.SIGKILL)
    process.wait()

    assert "accepted" in line
    assert Local.gone(family)
    with pytest.raises(ConnectionError):
        Visit(console).get("/")


def test_nobody_looks_and_nothing_is_spent(alone: Any) -> None:
    """No process of the console before the first look."""
    running = alone.local()
    time.sleep(1)
    commands = running.commands()

    running.stop()

    assert not [command for command in commands if "console" in command]

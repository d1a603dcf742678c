"""kill -9 of every process in the middle of events, started again with the same folder: nothing acknowledged is lost,
nothing counts twice.

NILOMETER_KILLS and NILOMETER_EVENTS make it longer: `make durability` kills 50 times in 2,000 events.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.support.command_line import CommandLine, Local

from nilometer.domain.store.times import rfc3339
from nilometer.local.demo.delivery import WebhookClient
from nilometer.local.plane.deploy import STRIPE_SECRET
from nilometer.local.plane.journal import FILE

KILLS = int(os.environ.get("NILOMETER_KILLS", "3"))
EVENTS = int(os.environ.get("NILOMETER_EVENTS", "200"))


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "run")


def kill_all(running: Local) -> None:
    """Every process at once, as when a container is stopped: first nobody can react, then everybody ends."""
    family = running.family()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in family:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                os.kill(pid, number)
    running.process.wait()
    assert running.gone(family)


def customer(number: int) -> bytes:
    created = int(time.time())
    state = {"id": f"cus_{number}", "object": "customer", "created": created, "livemode": False}
    event = {"id": f"evt_{number}", "object": "event", "type": "customer.created", "created": created}
    rest = {"api_version": "2026-10-28.endive", "livemode": False, "data": {"object": state}}
    return json.dumps({**event, **rest}).encode()


def usage(number: int) -> dict[str, str]:
    event = {
        "specversion": "1.0",
        "id": f"use_{number}",
        "source": "/tests/durability",
        "type": "usage.recorded.v1",
        "subject": "acme",
        "time": rfc3339(datetime.now(UTC)),
        "data": {"meter": "api_calls", "quantity": "3", "unit": "call"},
    }
    return {"Source": "tests", "DetailType": event["type"], "Detail": json.dumps(event)}  # type: ignore[dict-item]


class Sender(threading.Thread):
    """Sends each of `left` until it is acknowledged, one after the other, to whichever stack runs."""

    def __init__(self, left: list[int]) -> None:
        super().__init__(daemon=True)
        self.left = left
        self.description: dict[str, Any] | None = None
        self.sent: list[int] = []
        self._usage: dict[int, dict[str, str]] = {}

    def run(self) -> None:
        while self.left:
            described = self.description
            if described is None or not self._sent(self.left[-1], described):
                time.sleep(0.02)
                continue
            self.sent.append(self.left.pop())

    def _sent(self, number: int, described: dict[str, Any]) -> bool:
        try:
            if number % 2:
                endpoint = WebhookClient(described["webhook_url"], secret=STRIPE_SECRET)
                return endpoint.deliver(number, customer(number), attempts=1).taken
            entry = self._usage.setdefault(number, usage(number)) | {"EventBusName": described["bus"]}
            return not _client(described, "events").put_events(Entries=[entry])["FailedEntryCount"]
        except (BotoCoreError, ClientError):
            return False


def _client(described: dict[str, Any], service: str) -> Any:
    return boto3.session.Session().client(  # type: ignore[call-overload]
        service,
        endpoint_url=described["aws_endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=5, connect_timeout=2),
    )


def senders_to(running: Local, events: int) -> list[Sender]:
    senders = [Sender(list(range(lane, events, 2))) for lane in range(2)]
    for sender in senders:
        sender.description = dict(running.about)
        sender.start()
    return senders


def check_whole(alone: CommandLine, running: Local, senders: list[Sender], events: int) -> None:
    """Each event was acknowledged, and is in state and lake once; the two agree."""
    for sender in senders:
        sender.join(events + 60)
    waited = alone("wait", "--timeout", "240")
    shown = alone("usage", "show", "acme", "--json").json
    lake = alone("query", "select count(*) as n, count(distinct event_id) as d from usage", "--json").json
    stripe = alone("query", "select count(*) as n, count(distinct event_id) as d from stripe_events", "--json").json
    verified = alone("verify", "--grace", "0")
    dead = alone("status", "--json").json["dead_letters"]
    running.stop()

    assert waited.code == 0
    assert sum(len(sender.sent) for sender in senders) == events
    usages = events // 2
    assert [Decimal(meter["used"]) for meter in shown["meters"] if meter["meter"] == "api_calls"] == [usages * 3]
    assert lake == {"n": usages, "d": usages}
    assert stripe == {"n": events - usages, "d": events - usages}
    assert verified.code == 0, verified.err
    assert not any(dead.values())


@pytest.mark.timeout(240 + 60 * KILLS + EVENTS)
def test_a_kill_of_all_processes_loses_nothing(alone: CommandLine, tmp_path: Path) -> None:
    """Stripe and usage events while everything is killed again and again; at the end state and lake agree."""
    data = tmp_path / "data"
    chance = random.Random(21)
    running = alone.local("--data", str(data))
    assert alone("workspace", "create", "acme", "--name", "Acme").code == 0
    senders = senders_to(running, EVENTS)
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.5))
        for sender in senders:
            sender.description = None
        kill_all(running)
        running = alone.local("--data", str(data))
        for sender in senders:
            sender.description = dict(running.about)
    check_whole(alone, running, senders, EVENTS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 96 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("who runs the tests may mount nothing")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


@pytest.mark.timeout(400)
def test_a_full_disk_loses_nothing_that_was_acknowledged(alone: CommandLine, small_disk: Path) -> None:
    """It fills up in the middle of events, and then all processes are killed; with space again, all is there once."""
    data, ballast, events = small_disk / "data", small_disk / "ballast", 100
    running = alone.local("--data", str(data))
    assert alone("workspace", "create", "acme", "--name", "Acme").code == 0
    senders = senders_to(running, events)
    while sum(len(sender.sent) for sender in senders) < events // 4:
        time.sleep(0.05)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 1_000_000):  # large, for senders go on meanwhile; the last ones are cut
            pass
    time.sleep(5)
    acknowledged = sum(len(sender.sent) for sender in senders)
    for sender in senders:
        sender.description = None
    kill_all(running)
    ballast.unlink()
    running = alone.local("--data", str(data))
    for sender in senders:
        sender.description = dict(running.about)

    assert acknowledged < events
    check_whole(alone, running, senders, events)


def test_a_first_run_that_was_killed_starts_again(alone: CommandLine, tmp_path: Path) -> None:
    """Whenever it was killed: with the bucket on the disk and no stack yet, or in the middle of the deployment."""
    data = tmp_path / "data"
    command = [sys.executable, "-m", "nilometer", "local", "--port", "0", "--aws-port", "0", "--data", str(data)]
    for seconds in (1.0, 1.6, 2.2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, env=alone.environment)
        time.sleep(seconds)
        kill_all(Local(process, {}))
    running = alone.local("--data", str(data))
    assert alone("workspace", "create", "acme", "--name", "Acme").code == 0
    assert running.stop()[0] == 0


def test_a_lake_without_its_journal_is_taken_over(alone: CommandLine, tmp_path: Path) -> None:
    """A damaged journal stops the start; without it the lake is there, and the start says what to do."""
    data = tmp_path / "data"
    running = alone.local("--data", str(data))
    assert alone("workspace", "create", "acme", "--name", "Acme").code == 0
    assert alone("wait").code == 0
    running.stop()
    with (data / FILE).open("r+b") as file:
        file.truncate(5_000)

    refused = alone("local", "--port", "0", "--aws-port", "0", "--data", str(data))
    assert (refused.code, "is damaged; move it away" in refused.err) == (1, True)
    for left in data.glob(f"{FILE}*"):
        left.unlink()
    running = alone.local("--data", str(data))
    known = alone("query", "select count(*) as n from audit where kind = 'workspace'", "--json").json["n"]
    _, said = running.stop()
    assert "`nilometer rebuild` brings the records back" in said
    assert known == 1


def test_truncated_files_beside_the_journal_lose_nothing(alone: CommandLine, tmp_path: Path) -> None:
    """Checkpoints, lock, keys and code of the engine, each cut in half: the next start says what was damaged, and state
    and lake agree.
    """
    data = tmp_path / "data"
    running = alone.local("--data", str(data))
    assert alone("workspace", "create", "acme", "--name", "Acme").code == 0
    assert alone("usage", "send", "--workspace", "acme", "--meter", "api_calls", "--quantity", "3").code == 0
    assert alone("wait").code == 0
    running.stop()
    files = [path for path in data.rglob("*") if path.is_file()]
    others = [path for path in files if "lake" not in path.parts and FILE not in path.name]
    for path in others:
        os.truncate(path, path.stat().st_size // 2)

    running = alone.local("--data", str(data))
    assert alone("usage", "send", "--workspace", "acme", "--meter", "api_calls", "--quantity", "4").code == 0
    assert alone("wait").code == 0
    shown = alone("usage", "show", "acme", "--json").json
    verified = alone("verify", "--grace", "0")
    _, said = running.stop()

    assert {"checkpoints.json", "lock"} <= {path.name for path in others}
    assert "checkpoints.json was damaged" in said
    assert [meter["used"] for meter in shown["meters"]] == ["7"]
    assert verified.code == 0, verified.out

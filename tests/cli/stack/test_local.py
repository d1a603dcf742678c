"""`nilometer local` starts, stops, restarts and dies without leaving anything behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nilometer.local.stripe.month import random_month


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_stops_everything(alone: Any, number: int) -> None:
    """Exit code 0, no process is left, no other command finds it any more."""
    running = alone.local()
    while not running.workers("webhook"):
        time.sleep(0.1)  # it is ready when it listens; its workers are coming up
    family = running.family()

    code, said = running.stop(number)

    assert code == 0
    assert "Traceback" not in said
    assert running.gone(family)
    assert alone("status").code == 1


def test_a_killed_stack_leaves_nothing_running(alone: Any) -> None:
    """Engine and workers follow their parent, whatever became of it."""
    running = alone.local()
    family = running.family()

    running.stop(signal.SIGKILL)

    assert running.gone(family)
    assert alone("status").code == 1


def test_a_second_stack_on_the_same_data_is_refused(alone: Any, tmp_path: Path) -> None:
    """With the folder and the process that has it."""
    data = str(tmp_path / "data")
    running = alone.local("--data", data)

    answer = alone("local", "--port", "0", "--aws-port", "0", "--data", data)

    running.stop()
    assert answer.code == 1
    assert answer.err.strip().endswith(
        f"another nilometer (process {running.process.pid}) uses {data}; stop it or choose another folder"
    )


def test_a_taken_port_is_a_sentence(alone: Any, stack: Any) -> None:
    """Of the webhook and of the engine; and what was started meanwhile is gone."""
    webhook = stack.about["webhook_url"].split(":")[2].split("/")[0]
    engine = stack.about["aws_endpoint_url"].rpartition(":")[2]

    for ports in (("--port", webhook, "--aws-port", "0"), ("--port", "0", "--aws-port", engine)):
        answer = alone("local", *ports)
        assert answer.code == 1
        assert "taken" in answer.err
        assert "Traceback" not in answer.err


def test_state_survives_a_restart(alone: Any, tmp_path: Path) -> None:
    """Billing, counters and lake go on where they were; no change is in the audit table twice."""
    data = str(tmp_path / "data")
    running = alone.local("--data", data)
    alone("trigger", "customer.subscription.created", "--workspace", "acme")
    sent = ("usage", "send", "--workspace", "acme", "--meter", "api_calls", "--quantity", "5", "--id", "once")
    sent = (*sent, "--time", datetime.now(UTC).isoformat())  # the same event, else its id would be reused
    alone(*sent)
    assert alone("wait").code == 0
    before = state(alone)
    running.stop()

    running = alone.local("--data", data)
    alone(*sent)
    assert alone("wait").code == 0
    again = state(alone)
    running.stop()

    assert before["usage"] == [("api_calls", "5")]
    assert again == before


def test_a_kill_loses_nothing_that_was_taken(alone: Any, tmp_path: Path) -> None:
    """What was on its way goes on with the next start."""
    data = str(tmp_path / "data")
    running = alone.local("--data", data)
    alone("workspace", "create", "acme")
    alone("usage", "send", "--workspace", "acme", "--meter", "api_calls", "--quantity", "5", "--id", "once")
    running.stop(signal.SIGKILL)

    running = alone.local("--data", data)
    assert alone("wait", "--timeout", "240").code == 0
    found = state(alone)
    running.stop()

    assert found["usage"] == [("api_calls", "5")]
    assert found["usage rows"] == 1


def state(nilometer: Any) -> dict[str, Any]:
    audit = nilometer("query", "select count(*) as n, count(distinct change_id) as d from audit", "--json").json
    assert audit["n"] == audit["d"]
    meters = nilometer("usage", "show", "acme", "--json").json["meters"]
    return {
        "billing": nilometer("billing", "list", "--json").lines,
        "objects": sorted(known["id"] for known in nilometer("billing", "objects", "--json").lines),
        "usage": [(meter["meter"], meter["used"]) for meter in meters if meter["count"]],
        "usage rows": nilometer("query", "select count(*) as n from usage", "--json").json["n"],
        "audit": audit["n"],
    }


def test_every_event_once_though_workers_are_killed(alone: Any, tmp_path: Path) -> None:
    """300 deliveries, 30 % duplicates, random order, kill -9 of workers meanwhile: every event once, billing true."""
    world = random_month(3, customers=8, now=datetime(2026, 1, 1, tzinfo=UTC), steps=4)
    chance = random.Random(3)
    deliveries = world.events + chance.choices(
        world.events, k=max(300 - len(world.events), round(len(world.events) * 0.3))
    )
    chance.shuffle(deliveries)
    file = tmp_path / "events.ndjson"
    file.write_text("".join(f"{json.dumps(event)}\n" for event in deliveries))
    running = alone.local()
    killed: list[int] = []
    killer = threading.Thread(target=kill_workers, args=(running, killed))

    killer.start()
    answer = alone("replay", str(file), "--json")
    waited = alone("wait", "--timeout", "240")
    killer.join()

    lake = alone("query", "select count(*) as n, count(distinct event_id) as d from stripe_events", "--json").json
    rows = alone("billing", "list", "--json").lines
    dead = alone("status", "--json").json["dead_letters"]
    running.stop()
    assert killed
    assert (answer.code, waited.code) == (0, 0)
    assert answer.json["posted"] == len(deliveries) >= 300
    assert lake == {"n": len(world.events), "d": len(world.events)}
    assert not any(dead.values())
    assert {s["id"]: s["status"] for row in rows for s in row["subscriptions"]} == {
        id_: known["status"] for id_, known in world.objects.items() if known["object"] == "subscription"
    }


def kill_workers(running: Any, killed: list[int]) -> None:
    """One worker of each function, twice, while events go through. They come up after the stack is ready."""
    for pause in (1.0, 1.5):
        time.sleep(pause)
        for function in ("billing", "changes", "lake", "webhook"):
            while not (found := running.workers(function)) and running.process.poll() is None:
                time.sleep(0.1)
            for pid in found[:1]:
                with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

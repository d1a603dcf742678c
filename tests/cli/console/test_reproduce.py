"""An event of one stack again in an empty one: what it changes there is what the audit says of the first time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.command_line import CommandLine

from nilometer.domain.recovery.trace import Trace, TracedEvent
from nilometer.flows.recovery.reproduce import Scene, parted

USAGE = "select source || '#' || event_id as name from usage where workspace_id = 'memphis' order by event_id limit 1"
STRIPE = """select cause as name from audit where kind = 'billing' and action = 'MODIFY' and workspace_id = 'memphis'
            order by sequence_number desc limit 1"""


@pytest.mark.parametrize("sql", [USAGE, STRIPE], ids=["usage", "stripe"])
def test_an_event_changes_the_same_again(ask: Any, sql: str) -> None:
    """Every record that the audit names, within half a minute; the stack that was asked stays as it was."""
    ask("wait")
    [row] = ask("query", sql, "--json").lines
    before = _verified(ask)

    answer = ask("reproduce", row["name"], "--json")

    assert answer.code == 0, answer.out + answer.err
    assert answer.json["equal"]
    assert {one["kind"] for one in answer.json["records"]} & {"billing", "register", "counter"}
    compared, found = _verified(ask)
    assert found == before[1]
    assert all(now <= then for now, then in zip(compared, before[0], strict=True))


def _verified(ask: Any) -> tuple[list[int], list[dict[str, Any]]]:
    """How many were compared, which only falls, with what expires meanwhile; and what was found."""
    lines: list[dict[str, Any]] = ask("verify", "records", "counters", "--json").lines
    return [line.pop("compared") for line in lines], lines


def test_random_events_change_the_same_again(
    nilometer: CommandLine, played: Path, tmp_path: Path, project: Path
) -> None:
    """Six of those that `benchmarks/reproduce.py` tries, in a month that nobody else sends events to."""
    data = shutil.copytree(played, tmp_path / "month")
    command = (
        sys.executable,
        str(project / "benchmarks/reproduce.py"),
        "--data",
        str(data),
        "--events",
        "6",
        "--one-stack",
    )
    environment = {**nilometer.environment, "NILOMETER_RUNTIME_DIR": str(tmp_path / "run")}

    done = subprocess.run(
        (*command, "--seed", "3"), env=environment, capture_output=True, text=True, timeout=500, check=False
    )

    assert "6 of 6 equal" in done.stdout, done.stdout + done.stderr


def test_a_product_that_was_written_meanwhile_is_tried_with_and_without() -> None:
    """With it first; then, from empty tables, without; what may have been of the transaction follows one by one."""
    told = Trace(identity=TracedEvent(kind="stripe_event", event_id="evt", source="self"), hops=(), gaps=())
    made = Scene(trace=told, after={}, before={}, bodies=[b"own"], catalog=[b"product"], perhaps=[b"a", b"b"])

    assert list(made.orders) == [[[b"product", b"own"], [b"a"], [b"b"]], [[b"own"], [b"a"], [b"b"]]]
    assert list(replace(made, catalog=()).orders) == [[[b"own"], [b"a"], [b"b"]]]


def test_later_events_of_a_batch_are_left_out() -> None:
    """Those of the customer from after the cause; what shares its second follows only when it is needed."""

    def row(event_id: str, created: int, customer_id: str | None = "cus_1") -> dict[str, Any]:
        return {"event_id": event_id, "created": created, "customer_id": customer_id}

    event = row("own", 2)
    batch = [event, row("old", 1), row("cause", 3), row("twin", 3), row("late", 4), row("other", 4, "cus_2")]

    sure, perhaps = parted(event, "cause", [*batch, row("price", 4, None)])

    assert [one["event_id"] for one in sure] == ["own", "old", "cause", "other", "price"]
    assert [one["event_id"] for one in perhaps] == ["twin"]


def test_what_cannot_be_done_again_is_refused(ask: Any) -> None:
    """An event that nobody knows, and one that changed nothing that could be compared."""
    unknown = ask("reproduce", "evt_nobody", "--json")
    changed_nothing = ask("reproduce", "/services/gateway#stray")

    assert unknown.code == 1
    assert "nothing is known of evt_nobody" in unknown.err
    assert changed_nothing.code == 1
    assert "nothing to compare" in changed_nothing.err

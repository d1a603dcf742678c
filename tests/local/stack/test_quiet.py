"""A stack that nobody uses: it costs next to nothing, and what has expired goes by itself."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.command_line import CommandLine, Local
from tests.support.project import least

import nilometer
from nilometer.domain.people import invitation

SHARE = 0.02  # of a core
SECONDS = 15
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(running: Local) -> float:
    """User and system time of all of its processes so far."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in running.family())
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS


def share_of_a_core(running: Local, seconds: float) -> float:
    before, began = cpu_seconds(running), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(running) - before) / (time.monotonic() - began)


def invite_long_ago() -> None:
    """An invitation whose record was over yesterday, in a workspace of its own."""
    store = nilometer.connect().store()
    then = datetime.now(UTC) - invitation.VALID - invitation.KEPT - timedelta(days=1)
    accounts = nilometer.service("acme", "accounts")
    nilometer.perform(store, accounts, nilometer.CreateWorkspace(name="Acme", admin="ada"), now=then)
    nilometer.issue(store, accounts, nilometer.Invite(email="grace@example.com", role=nilometer.Role.VIEWER), now=then)


def test_an_idle_stack_costs_little_and_what_expires_in_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 2 % of a core; an invitation that is over is removed, and the audit says EXPIRED as it does on AWS."""
    monkeypatch.setenv("NILOMETER_RUNTIME_DIR", str(tmp_path / "run"))
    line = CommandLine(tmp_path / "run")
    running = line.local()
    try:
        invite_long_ago()
        asked = "select action from audit where kind = 'invitation' and action <> 'INSERT'"
        deadline = time.monotonic() + 200
        while not (rows := line("query", asked, "--json").lines) and time.monotonic() < deadline:
            time.sleep(2)
        verified = line("verify", "--grace", "0")
        assert line("wait").code == 0
        time.sleep(3)  # for workers that were busy a moment ago
        share = least(lambda: share_of_a_core(running, SECONDS), wanted=SHARE, tries=6)
    finally:
        running.stop()

    assert rows == [{"action": "EXPIRED"}]
    assert verified.code == 0, verified.err
    assert share <= SHARE, f"{share:.1%} of a core"

"""What every function logs and counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from nilometer import lambdas as edge
from nilometer.domain.events.outcome import Outcome, Result
from nilometer.domain.lake.redaction import id_text


def test_what_went_wrong_is_counted_by_version_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm of a canary looks at one version; what went well needs no second metric."""
    monkeypatch.setattr(edge, "_VERSION", "7")

    edge.count("changes", [Outcome.ACCEPTED, Outcome.REJECTED])

    [line] = [vars(record) for record in caplog.records]
    by_flow, by_version, of_all = line["_aws"]["CloudWatchMetrics"]
    assert (by_flow["Dimensions"], by_version["Dimensions"]) == ([["flow"]], [["flow", "version"]])
    assert [metric["Name"] for metric in by_flow["Metrics"]] == ["accepted", "rejected"]
    assert [metric["Name"] for metric in by_version["Metrics"]] == ["rejected"]
    assert (line["flow"], line["version"], line["accepted"], line["rejected"]) == ("changes", "7", 1, 1)
    assert (of_all["Dimensions"], of_all["Metrics"][0]["Name"], line["Attention"]) == ([[]], "Attention", 1)


def test_what_no_alarm_reads_is_a_field_and_no_metric(caplog: pytest.LogCaptureFixture) -> None:
    """CloudWatch bills every metric; nothing of the count is lost."""
    edge.count("usage", [Outcome.DUPLICATE, Outcome.DUPLICATE], zone="quiet")

    [line] = [vars(record) for record in caplog.records]
    assert (line["duplicate"], line["zone"], "_aws" in line) == (2, "quiet", False)


def test_quiet_logs_keep_what_went_wrong_and_every_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the log level WARNING a record that went well has no line of its own."""
    monkeypatch.setattr(edge, "_LOGS_EVERY_RECORD", False)
    outcomes = (Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.FAILED, Outcome.REJECTED)
    results = [Result(message_id=str(n), outcome=outcome) for n, outcome in enumerate(outcomes)]

    edge.batch_response("usage", results)

    assert [record.message for record in caplog.records] == ["usage.failed", "usage.rejected", "usage.outcomes"]
    counts = vars(caplog.records[-1])
    assert (counts["accepted"], counts["duplicate"], counts["failed"]) == (1, 1, 1)


def test_no_line_holds_an_address(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever chooses an id may choose an e-mail address: the hash of it is logged, the same as in the lake."""
    fields = {"event_id": "ada@example.com", "event_ids": "u1 ada@example.com", "workspace_id": "ws", "rows": 2}
    edge.batch_response("usage", [Result(message_id="1", outcome=Outcome.REJECTED, fields=fields)])

    line = vars(caplog.records[0])
    assert line["event_id"] == id_text("ada@example.com")
    assert line["event_ids"] == f"u1 {id_text('ada@example.com')}"
    assert (line["workspace_id"], line["rows"]) == ("ws", 2)
    assert "ada@" not in str(line)


def test_every_line_of_a_call_carries_its_request_id() -> None:
    """That of this call, also in a warm process: Lambda's START and REPORT lines have it too."""

    @edge.handling
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return edge.logger.get_current_keys()

    logged = [handler({}, SimpleNamespace(aws_request_id=name))["request_id"] for name in ("first", "second")]

    assert logged == ["first", "second"]


def test_a_line_of_the_log_shows_what_came_from_outside(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id may hold escapes of a terminal and turned directions: the line is printable ASCII, and says the same."""
    odd = "a\x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\u200b\U000e0041"
    monkeypatch.setattr(edge.logger.handlers[0], "stream", sys.stdout)

    edge.batch_response("usage", [Result(message_id="1", outcome=Outcome.REJECTED, fields={"event_id": odd})])

    line = capsys.readouterr().out.splitlines()[0]
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event_id"] == odd


@pytest.mark.parametrize("cold", [True, False])
def test_the_garbage_collector_runs_after_a_cold_start(cold: bool) -> None:
    """Seldom, and it passes over what a function imported; it is left alone in a process that is none."""
    seldom = "gc.get_freeze_count() > 1_000 and gc.get_threshold()[0] == 10_000"
    program = f"import gc, nilometer.lambdas.changes; print(gc.isenabled(), {seldom})"
    environment = {name: value for name, value in os.environ.items() if name != "AWS_LAMBDA_FUNCTION_NAME"}
    environment |= {"AWS_LAMBDA_FUNCTION_NAME": "changes"} if cold else {}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", str(cold)]

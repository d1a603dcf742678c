"""What every function logs and counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nilometer.domain.events.outcome import Outcome
from nilometer.lambdas import edge


def test_what_went_wrong_is_counted_by_version_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm of a canary looks at one version; what went well needs no second metric."""
    monkeypatch.setattr(edge, "_VERSION", "7")

    edge.count("changes", [Outcome.ACCEPTED, Outcome.REJECTED])

    [line] = [vars(record) for record in caplog.records]
    by_flow, by_version = line["_aws"]["CloudWatchMetrics"]
    assert (by_flow["Dimensions"], by_version["Dimensions"]) == ([["flow"]], [["flow", "version"]])
    assert [metric["Name"] for metric in by_flow["Metrics"]] == ["accepted", "rejected"]
    assert [metric["Name"] for metric in by_version["Metrics"]] == ["rejected"]
    assert (line["flow"], line["version"], line["accepted"], line["rejected"]) == ("changes", "7", 1, 1)


def test_every_line_of_a_call_carries_its_request_id() -> None:
    """That of this call, also in a warm process: Lambda's START and REPORT lines have it too."""

    @edge.handling
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return edge.logger.get_current_keys()

    logged = [handler({}, SimpleNamespace(aws_request_id=name))["request_id"] for name in ("first", "second")]

    assert logged == ["first", "second"]

"""`nilometer cost` counts a run and prices it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_the_demo_has_a_price(alone: Any, tmp_path: Path) -> None:
    """Every kind, from what was counted: a million events on the bus are a dollar, whatever else they cost."""
    mine = tmp_path / "mine.toml"
    mine.write_text("[write_unit]\nusd = 1_000_000\nper = 1\n")

    found = alone("cost", "--json", "--prices", str(mine)).json

    kinds = {one["kind"]: one for one in found["kinds"]}
    assert list(kinds) == ["Stripe webhook", "usage event", "operations event or notice", "change of a record"]
    assert kinds["Stripe webhook"]["by_service"]["HTTP API"] == 1.0
    assert kinds["usage event"]["by_service"]["EventBridge"] == 1.0
    assert kinds["change of a record"]["by_service"]["EventBridge"] == 1.0
    assert all(one["by_service"][service] > 0 for one in kinds.values() for service in ("Lambda", "SQS", "Logs"))
    for kind in ("Stripe webhook", "usage event", "operations event or notice"):
        units = float(kinds[kind]["counted"]["write_unit"]) / kinds[kind]["events"]
        assert 1 < units < 6
        assert kinds[kind]["usd_per_million"] > units * 1e12 * 0.99
    assert all(kinds[kind]["lake_batches"] for kind in ("Stripe webhook", "usage event", "change of a record"))
    assert found["prices"]["write_unit"]["source"] == str(mine)
    assert found["not_counted"]


def test_prices_are_read_before_anything_is_run(alone: Any, tmp_path: Path) -> None:
    """A mistake costs no half a minute."""
    mine = tmp_path / "mine.toml"
    mine.write_text("[writes]\nusd = 1\n")

    answer = alone("cost", "--prices", str(mine))

    assert answer.code == 1
    assert "writes is no price; there are http_request" in answer.err
    assert "starting" not in answer.err


def test_a_stage_that_is_none_is_refused(alone: Any) -> None:
    """Before anything is run."""
    answer = alone("cost", "--stage", "medium")

    assert answer.code == 2
    assert "medium is no stage of samconfig.toml; one of dev, small, staging, prod" in answer.err


def test_a_rate_that_is_none_is_refused(alone: Any) -> None:
    """Before anything is run."""
    answer = alone("cost", "--stripe", "300")

    assert answer.code == 2
    assert "300 is no rate; write 300/day" in answer.err

"""`nilometer metric` and `nilometer explain` on a running stack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def test_a_figure_and_what_it_is_made_of(nilometer: Any, stack: Any, tmp_path: Path) -> None:
    """The changes that explain a workspace's recurring revenue add up to it, also in another currency."""
    assert nilometer("workspace", "create", "metrics-co").code == 0
    sent = nilometer("trigger", "customer.subscription.created", "--workspace", "metrics-co")
    assert sent.code == 0, sent.err
    assert nilometer("wait").code == 0

    of = ("--workspace", "metrics-co", "--json")
    moved = nilometer("metric", "mrr_movements", *of).lines
    explained = nilometer("explain", "mrr", f"{datetime.now(UTC):%Y-%m}", *of).lines
    assert moved
    assert sum(row["change"] for row in explained) == sum(row["mrr"] for row in moved) == explained[-1]["mrr"] > 0
    assert {row["because"] for row in explained} == {"change"}

    no_one = nilometer("metric", "mrr_movements", "--account", "acct_none")
    assert (no_one.code, no_one.out) == (0, "")
    assert "nothing in this time; there is money of --account self" in no_one.err
    assert nilometer("explain", "mrr", f"{datetime.now(UTC):%Y-%m}", *of, "--account", "acct_none").lines == []
    assert nilometer("query", "--recipe", "mrr", "--account", "acct_none", "--json").lines == []
    assert nilometer("query", "--recipe", "mrr", "--json").lines != []

    rates = tmp_path / "rates.csv"
    rates.write_text(f"currency,day,rate\n{moved[0]['currency']},2020-01-01,2\n")
    [doubled] = nilometer("metric", "mrr_movements", *of, "--rates", str(rates), "--currency", "xyz").lines
    assert (doubled["currency"], doubled["mrr"]) == ("xyz", 2 * moved[0]["mrr"])


def test_metrics_are_listed_and_their_sql_is_shown(nilometer: Any, stack: Any) -> None:
    """A name that is none, a month that is none and a time that ends before it begins are sentences."""
    assert "mrr_movements" in nilometer("metric").out
    assert "subscriptions_history" in nilometer("metric", "mrr_daily", "--sql").out
    assert nilometer("metric", "revenue", "--csv").out.startswith("month,currency,paid")
    assert "there is no metric arr" in nilometer("metric", "arr").err
    assert "write it as 2026-10" in nilometer("explain", "mrr", "October").err
    assert "exchange them" in nilometer("metric", "churn", "--from", "2026-03-01", "--to", "2026-01-01").err

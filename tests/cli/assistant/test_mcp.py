"""An assistant gets what the command prints, and what the SQL answers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.command_line import CommandLine
from tests.support.stack.loop import run_async

from nilometer.cli.assistant import mcp_server
from nilometer.cli.assistant.mcp_server import McpTools
from nilometer.cli.terminal.connection import Connection
from nilometer.lake.metrics.metrics import METRICS
from nilometer.lake.read.recipes import RECIPES

Call = tuple[str, dict[str, Any]]


async def called(nilometer: CommandLine, calls: Sequence[Call]) -> list[Any]:
    """The answers of a server of its own, over stdio as an assistant starts it."""
    from mcp import Client, StdioServerParameters  # nearly two seconds, and every worker collects all tests

    started = StdioServerParameters(command=sys.executable, args=["-m", "nilometer", "mcp"], env=nilometer.environment)
    async with Client(started) as client:
        tools = (await client.list_tools()).tools
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        return [await client.call_tool(name, arguments) for name, arguments in calls]


def ask(nilometer: CommandLine, *calls: Call) -> list[Any]:
    answers = run_async(called(nilometer, calls))
    assert not any(answer.is_error for answer in answers), [answer.content for answer in answers]
    return [json.loads(answer.content[0].text) for answer in answers]


def test_an_assistant_is_told_what_the_commands_print(nilometer: Any, stack: Any) -> None:
    """Of a metric, of what explains it, of a recipe, a trace and a check; with SQL that gives the same rows again."""
    assert nilometer("workspace", "create", "mcp-co").code == 0
    assert nilometer("trigger", "customer.subscription.created", "--workspace", "mcp-co").code == 0
    assert nilometer("wait").code == 0
    month, day = f"{datetime.now(UTC):%Y-%m}", f"{datetime.now(UTC):%Y-%m-%d}"
    of = ("--workspace", "mcp-co", "--json")
    [row] = nilometer("explain", "mrr", month, *of).lines

    moved, explained, trace, recipe, verified, metrics, recipes = ask(
        nilometer,
        ("metric", {"name": "mrr_movements", "first": f"{month}-01", "last": day, "workspace": "mcp-co"}),
        ("explain_mrr", {"month": month, "workspace": "mcp-co"}),
        ("trace", {"event_id": row["cause"]}),
        ("recipe", {"name": "twice"}),
        ("verify", {"check": "books"}),
        ("metrics", {}),
        ("recipes", {}),
    )
    assert moved["rows"] == nilometer("metric", "mrr_movements", "--from", f"{month}-01", "--to", day, *of).lines != []
    assert moved["rows"] == nilometer("query", moved["sql"], "--json").lines
    tables = {one["name"]: one["version"] for one in nilometer("tables", "--json").lines}
    told = moved["tables"]["subscriptions_history"]
    assert 0 <= told["version"] <= tables["subscriptions_history"]
    assert told["committed_at"].startswith(f"{datetime.now(UTC):%Y}")
    assert explained["rows"] == [row]
    assert trace["trace"]["hops"] == nilometer("trace", row["cause"], "--json").json["hops"]
    assert recipe["rows"] == nilometer("query", "--recipe", "twice", "--json").lines == []
    assert verified["report"]["ok"] is nilometer("verify", "books", "--json").json["ok"] is True
    assert set(metrics["metrics"]) >= {"mrr_daily", "revenue"}
    assert "mrr" in recipes["recipes"]


def test_now_is_when_the_assistant_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that was started days ago does not answer with what was known then."""
    started = datetime.now(UTC) - timedelta(days=9)
    monkeypatch.setattr(mcp_server, "lake_of", lambda _: {"lake_uri": str(tmp_path), "storage_options": {}})
    told: Any = SimpleNamespace(pid=None)
    tools = McpTools(Connection(told, now=started))

    asked = tools.metric("mrr_daily", first=started.date(), last=datetime.now(UTC).date())

    known = {datetime.fromisoformat(told) for told in re.findall(r"known_at <= timestamp '([^']+)'", asked["sql"])}
    assert len(known) == 1
    assert datetime.now(UTC) - known.pop() < timedelta(minutes=10)


def test_every_recipe_and_metric_is_what_its_command_prints(alone: CommandLine) -> None:
    """The same rows by the assistant, by the command, and by the SQL that came with the answer."""
    running = alone.local()
    try:
        for words in (
            ("workspace", "create", "mcp-co"),
            ("meter", "create", "calls", "--unit", "call", "--aggregation", "sum"),
            ("trigger", "customer.subscription.created", "--workspace", "mcp-co"),
            ("trigger", "invoice.payment_failed", "--workspace", "mcp-co"),
            ("usage", "send", "--workspace", "mcp-co", "--meter", "calls", "--quantity", "3"),
            ("wait",),
        ):
            assert alone(*words).code == 0, words
        now = datetime.now(UTC)
        first, last, as_of = f"{now:%Y-%m}-01", f"{now:%Y-%m-%d}", f"{now:%Y-%m-%dT%H:%M:%SZ}"
        at = {"as_of": as_of, "since": f"{first}T00:00:00Z"}
        of_days = {"first": first, "last": last, "known_at": as_of}
        answers = ask(
            alone,
            *(("recipe", {"name": name, **at}) for name in RECIPES),
            *(("metric", {"name": name, **of_days}) for name in METRICS),
        )
        span = ("--as-of", as_of, "--since", at["since"], "--json")
        days = ("--from", first, "--to", last, "--known-at", as_of, "--json")
        printed = [alone("query", "--recipe", name, *span) for name in RECIPES]
        printed += [alone("metric", name, *days) for name in METRICS]
        of_metrics = answers[len(RECIPES) :]
        by_sql = [ordered(alone("query", one["sql"], *span).lines) for one in of_metrics]
    finally:
        running.stop()

    names = [*RECIPES, *METRICS]
    told = {name: ordered(answer["rows"]) for name, answer in zip(names, answers, strict=True)}
    assert told == {name: ordered(one.lines) for name, one in zip(names, printed, strict=True)}
    assert [one["sql"] for one in answers[: len(RECIPES)]] == [recipe.sql for recipe in RECIPES.values()]
    assert [told[name] for name in METRICS] == by_sql
    assert not any(answer["more"] for answer in answers)
    assert all(answer["tables"] for answer in answers)
    assert sum(bool(answer["rows"]) for answer in answers) > len(names) / 2


def ordered(rows: list[Any]) -> list[str]:
    """Whatever order rows have that a question does not tell apart."""
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_what_is_not_there_is_a_sentence(nilometer: Any, stack: Any) -> None:
    """An assistant reads it and asks for something else."""
    answer, other = run_async(
        called(nilometer, [("recipe", {"name": "everything"}), ("explain_mrr", {"month": "October"})])
    )
    assert answer.is_error
    assert "the tool `recipes` lists them" in answer.content[0].text
    assert "write it as 2026-10" in other.content[0].text

"""An assistant gets what the command prints, and what the SQL answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mcp import Client, StdioServerParameters
from tests.support.command_line import CommandLine
from tests.support.stack.loop import run_async

Call = tuple[str, dict[str, Any]]


async def called(nilometer: CommandLine, calls: Sequence[Call]) -> list[Any]:
    """The answers of a server of its own, over stdio as an assistant starts it."""
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


def test_what_is_not_there_is_a_sentence(nilometer: Any, stack: Any) -> None:
    """An assistant reads it and asks for something else."""
    answer, other = run_async(
        called(nilometer, [("recipe", {"name": "everything"}), ("explain_mrr", {"month": "October"})])
    )
    assert answer.is_error
    assert "the tool `recipes` lists them" in answer.content[0].text
    assert "write it as 2026-10" in other.content[0].text

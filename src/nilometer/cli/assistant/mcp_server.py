"""`nilometer mcp`: a server of the Model Context Protocol that answers about one stack and changes nothing."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from nilometer.cli.lake.metric import asked_period, month_bounds
from nilometer.cli.lake.tables import lake_of
from nilometer.cli.recovery.trace import traced
from nilometer.cli.recovery.verify import CHECKS, verified
from nilometer.cli.terminal.connection import Connection, stack_options
from nilometer.cli.terminal.output import plain, whole
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import NilometerError, Rejected

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from nilometer.lake.metrics.period import MetricPeriod

ROWS = 1_000  # of an answer; it says when there are more

Answer = dict[str, Any]


@click.command()
@stack_options
def mcp(connection: Connection) -> None:
    """Let an assistant query the lake, by the Model Context Protocol on stdio.

    Tools: recipes, metrics, the events behind a figure, the trace of an event, and verify; all read only. Every answer
    from the lake has its SQL, and the version and time of each table. Needs the extra `mcp`.

    \b
    Example:
      nilometer mcp --stack nilometer-prod
    """
    server(connection).run("stdio")


def server(connection: Connection) -> MCPServer:
    """The server of one stack, on no transport yet."""
    from mcp.server.mcpserver import MCPServer
    from mcp.types import ToolAnnotations

    tools = McpTools(connection)
    made = MCPServer("nilometer", instructions=_INSTRUCTIONS)
    reading = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
    every: tuple[Callable[..., Answer], ...] = (
        tools.recipes, tools.recipe, tools.metrics, tools.metric, tools.explain_mrr, tools.trace, tools.verify,
    )  # fmt: skip
    for tool in every:
        made.tool(annotations=reading)(_saying(tool))
    return made


def _saying(tool: Callable[..., Answer]) -> Callable[..., Answer]:
    """An error of ours is one sentence to the assistant; of others it learns nothing."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def asked(*args: Any, **kwargs: Any) -> Answer:
        try:
            return tool(*args, **kwargs)
        except NilometerError as error:
            raise ToolError(str(error)) from None

    return asked


_INSTRUCTIONS = """Billing and usage of a product: Stripe's objects with their history, usage events, an audit of every
change. Money is whole minor units of its currency. Say the version and time of the tables with a figure."""


class McpTools:
    """What an assistant may call; the docstrings are what it reads."""

    def __init__(self, connection: Connection) -> None:
        self._description = connection.description

    @property
    def _connection(self) -> Connection:
        """The server runs for days, longer than a command: each question has its own time."""
        return Connection(self._description)

    def recipes(self) -> Answer:
        """The ready questions about usage, billing, payments and changes, for the tool `recipe`."""
        from nilometer.lake.read.recipes import RECIPES

        return {"recipes": {recipe.name: recipe.question for recipe in RECIPES.values()}}

    def recipe(
        self, name: str, as_of: datetime | None = None, since: datetime | None = None, account: str = OWN_ACCOUNT
    ) -> Answer:
        """The answer of a ready question, as of a time (now), since a time (31 days before); about money of the
        platform's own account or of a Connect account."""
        from nilometer.lake.read.recipes import RECIPES

        if name not in RECIPES:
            raise Rejected("unknown_recipe", f"there is no recipe {name}; the tool `recipes` lists them")
        return self._ask(RECIPES[name].sql, as_of=as_of, since=since, account=account)

    def metrics(self) -> Answer:
        """The figures of the business, for the tool `metric`."""
        from nilometer.lake.metrics.metrics import METRICS

        return {"metrics": {metric.name: metric.question for metric in METRICS.values()}}

    def metric(
        self,
        name: str,
        first: date,
        last: date,
        known_at: datetime | None = None,
        workspace: str | None = None,
        account: str = OWN_ACCOUNT,
    ) -> Answer:
        """A figure from the first day to the last, as known at a time (now), of one workspace or of all, in the
        platform's own account or in a Connect account."""
        from nilometer.lake.metrics.metrics import METRICS

        if name not in METRICS:
            raise Rejected("unknown_metric", f"there is no metric {name}; the tool `metrics` lists them")
        return self._ask(METRICS[name].sql(self._period(first, last, known_at), workspace, account))

    def explain_mrr(
        self,
        month: str,
        known_at: datetime | None = None,
        workspace: str | None = None,
        account: str = OWN_ACCOUNT,
    ) -> Answer:
        """The events, trials and discounts that add up to the recurring revenue at the end of a month (2026-10)."""
        from nilometer.lake.metrics.metrics import EXPLAIN_MRR

        return self._ask(EXPLAIN_MRR.sql(self._period(*month_bounds(month), known_at), workspace, account))

    def trace(self, event_id: str) -> Answer:
        """The way of one event through every place, from its arrival to the lake, and what is missing on it."""
        return {"trace": _as_json(traced(self._connection, event_id)), "command": f"nilometer trace {event_id}"}

    def verify(self, check: str) -> Answer:
        """Whether lake and tables agree on records, counters, stripe_events, usage_events, origin or books."""
        if check not in CHECKS:
            raise Rejected("unknown_check", f"there is no check {check}; it is one of {', '.join(CHECKS)}")
        [report] = verified(self._connection, [check])
        return {"report": _as_json(report), "command": f"nilometer verify {check}"}

    def _period(self, first: date, last: date, known_at: datetime | None) -> MetricPeriod:
        return asked_period(self._connection.now, _midnight(first), _midnight(last), known_at)

    def _ask(
        self, sql: str, *, as_of: datetime | None = None, since: datetime | None = None, account: str = OWN_ACCOUNT
    ) -> Answer:
        from nilometer.lake.read.query import query

        found = query(sql, **lake_of(self._connection), as_of=as_of, since=since, account=account)
        rows = [dict(zip(found.columns, map(whole, row), strict=True)) for row in islice(found.rows, ROWS)]
        versions = {
            name: {"version": version, "committed_at": committed_at}
            for name, (version, committed_at) in found.versions().items()
        }
        answer = {"rows": rows, "more": next(iter(found.rows), None) is not None, "sql": sql, "tables": versions}
        return _as_json(answer)


def _as_json(value: dict[str, Any]) -> Answer:
    """As `--json` prints it."""
    answer: Answer = json.loads(json.dumps(value, default=plain))
    return answer


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)

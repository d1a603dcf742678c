"""Money: monthly recurring revenue and how it moved, revenue, failed payments, receivables, usage against plans.

Each table is the answer of a recipe of the lake, so it is that of `nilometer query --recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nilometer.console.http.answers import chart_of, csv_of
from nilometer.console.http.guard import visitor
from nilometer.console.http.rendering import page, query
from nilometer.console.place import place_of
from nilometer.domain.acts.roles import Permission
from nilometer.errors import Refused
from nilometer.lake.read.bounded import BoundedResult, bounded_query
from nilometer.lake.read.recipes import RECIPES

DEFAULT = timedelta(days=92)
SHOWN = 200
CSV_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyPart:
    """A section: the recipe behind it, which columns are minor units, and what it says when it is empty."""

    title: str
    recipe: str
    amounts: tuple[str, ...] = ()
    behind: str = ""
    """The recipe whose rows are the events behind a figure, by the columns that both have."""
    empty: str = "Nothing in this time."


PARTS: Mapping[str, MoneyPart] = {
    "mrr": MoneyPart(title="Monthly recurring revenue", recipe="mrr", amounts=("mrr",), behind="mrr-events"),
    "movement": MoneyPart(title="How it moved", recipe="mrr-movement", amounts=("mrr",), behind="mrr-events"),
    "revenue": MoneyPart(title="Revenue by month", recipe="revenue", amounts=("paid",), behind="revenue-events"),
    "receivables": MoneyPart(
        title="Receivables", recipe="receivables", amounts=("due", "remaining"), empty="No invoice is open."
    ),
    "failed": MoneyPart(
        title="Failed payments and recovery",
        recipe="failed-payments",
        amounts=("amount",),
        empty="Every invoice of this time was paid at the first attempt.",
    ),
    "churn": MoneyPart(title="Ended subscriptions", recipe="churn", empty="No subscription ended in this time."),
    "usage": MoneyPart(
        title="Usage against plan", recipe="usage-against-limits", empty="No workspace has a plan with limits yet."
    ),
}


def routes() -> list[BaseRoute]:
    """All below `/money`."""
    return [
        Route("/money", money),
        Route("/money/events/{part}", behind),
        Route("/money/{part}.csv", download),
        Route("/money/{part}", part),
    ]


def money(request: Request) -> Response:
    """The frame; each part loads by itself."""
    _reader(request)
    since, until = _times(request)
    return page(request, "money/money.html", parts=PARTS, since=since.date(), until=until.date())


def part(request: Request) -> Response:
    """One section as a table, and as a chart where it has times."""
    name, one = _part(request)
    found = _answer(request, one.recipe, SHOWN)
    chart = chart_of(found.columns, found.rows) if name in {"movement", "revenue"} else None
    return page(request, "money/part.html", name=name, part=one, found=found, chart=chart, asked=_asked(request))


def download(request: Request) -> Response:
    """The same as CSV: amounts are minor units, as in the recipe."""
    _, one = _part(request)
    found = _answer(request, one.recipe, CSV_ROWS)
    return csv_of(one.recipe, found.columns, found.rows)


def behind(request: Request) -> Response:
    """The events that a figure is made of: rows that agree with it in every column that the address names."""
    name, one = _part(request)
    if not one.behind:
        raise HTTPException(404, "this figure has no events of its own")
    found = _answer(request, one.behind, CSV_ROWS)
    wanted = {column: value for column in found.columns if (value := query(request, f"of_{column}"))}
    rows = [row for row in found.rows if all(_said(row, found.columns, c) == v for c, v in wanted.items())]
    return page(
        request, "money/behind.html", name=name, part=one, columns=found.columns, rows=rows[:SHOWN], wanted=wanted
    )


def _said(row: Sequence[Any], columns: Sequence[str], column: str) -> str:
    value = row[columns.index(column)]
    return value.isoformat() if isinstance(value, date) else str(value)


def _answer(request: Request, recipe: str, limit: int) -> BoundedResult:
    since, until = _times(request)
    return bounded_query(RECIPES[recipe].sql, since=since, as_of=until, limit=limit, **place_of(request).lake)


def _reader(request: Request) -> None:
    who = visitor(request)
    who.require(Permission.BILLING_VIEW)
    who.require(Permission.HISTORY_QUERY)
    if not who.sees_all:
        raise Refused("money spans all workspaces, and you see one")


def _part(request: Request) -> tuple[str, MoneyPart]:
    _reader(request)
    name = str(request.path_params["part"])
    if name not in PARTS:
        raise HTTPException(404, f"there is no part {name}; one of {', '.join(PARTS)}")
    return name, PARTS[name]


def _times(request: Request) -> tuple[datetime, datetime]:
    """Whole UTC days: from the start of the first to the end of the last, or to now."""
    now = place_of(request).clock()
    until = _day(request, "to")
    end = min(now, datetime.combine(until + timedelta(days=1), time(), UTC)) if until else now
    since = _day(request, "from")
    return (datetime.combine(since, time(), UTC) if since else now - DEFAULT), end


def _day(request: Request, name: str) -> date | None:
    told = query(request, name)
    try:
        found = date.fromisoformat(told) if told else None
    except ValueError:
        found = None
    if told and (found is None or not 1970 <= found.year <= 9000):
        raise HTTPException(400, f"{name} is a day such as 2026-11-30")
    return found


def _asked(request: Request) -> Mapping[str, str]:
    return {name: value for name in ("from", "to") if (value := query(request, name))}

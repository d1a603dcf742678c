"""Money: monthly recurring revenue and how it moved, churn, revenue, failed payments, receivables, usage.

Each table is the answer of a metric, as `nilometer metric` gives it, or where there is none of a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nilometer.console.http.answers import chart_of, csv_of
from nilometer.console.http.formats import decimals
from nilometer.console.http.guard import visitor
from nilometer.console.http.rendering import page, query, section
from nilometer.console.place import place_of
from nilometer.domain.acts.roles import Permission
from nilometer.domain.stripe.event import OWN_ACCOUNT
from nilometer.errors import Refused
from nilometer.lake.metrics.metrics import EXPLAIN_MRR, METRICS
from nilometer.lake.metrics.period import MetricPeriod
from nilometer.lake.read.bounded import BoundedResult, bounded_query
from nilometer.lake.read.recipes import RECIPES

DEFAULT = timedelta(days=92)
SHOWN = 200
CSV_ROWS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyPart:
    """A section: the metric or recipe behind it, which columns are minor units, and what it says when it is empty."""

    title: str
    metric: str = ""
    recipe: str = ""
    amounts: tuple[str, ...] = ()
    behind: str = ""
    """The recipe, or `explain`, whose rows are the events behind a figure, by the columns that both have."""
    by: tuple[str, ...] = ()
    """The columns that choose them."""
    empty: str = "Nothing in this time."


def _metric(name: str, title: str, behind: str = "", *by: str, empty: str = "Nothing in this time.") -> MoneyPart:
    return MoneyPart(title=title, metric=name, amounts=METRICS[name].money, behind=behind, by=by, empty=empty)


PARTS: Mapping[str, MoneyPart] = {
    "mrr": _metric("mrr_daily", "Monthly recurring revenue", "explain", "day"),
    "movement": _metric("mrr_movements", "How it moved", "explain", "month"),
    "churn": _metric("churn", "Churn", "explain", "month", empty="Nobody left in this time."),
    "cohorts": _metric("cohorts", "Customers by the month they began", "explain", "month"),
    "revenue": _metric("revenue", "Revenue by month", "revenue-events", "month"),
    "receivables": _metric("receivables", "Receivables", "receivables", empty="Nothing is owed."),
    "usage_revenue": _metric("usage_revenue", "Revenue of metered prices", empty="No metered price was invoiced."),
    "failed": MoneyPart(
        title="Failed payments and recovery",
        recipe="failed-payments",
        amounts=("amount",),
        empty="Every invoice of this time was paid at the first attempt.",
    ),
    "ended": MoneyPart(title="Ended subscriptions", recipe="churn", empty="No subscription ended in this time."),
    "usage": MoneyPart(
        title="Usage against plan", recipe="usage-against-limits", empty="No workspace has a plan with limits yet."
    ),
}
ROWS = (
    ("mrr",),
    ("movement", "churn"),
    ("revenue", "receivables"),
    ("failed",),
    ("cohorts", "usage_revenue"),
    ("ended",),
    ("usage",),
)
CHARTS = {"mrr", "movement", "revenue", "receivables"}


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
    period = _period(request)
    return page(request, "money/money.html", parts=PARTS, rows=ROWS, period=period, asked=_asked(request))


def part(request: Request) -> Response:
    """One section as a table, and as a chart where it has times."""
    name, one = _part(request)
    found = _answer(request, one, CSV_ROWS if name == "mrr" else SHOWN)
    chart = _in_units(chart_of(found.columns, found.rows)) if name in CHARTS else None
    newest = [row for row in found.rows if row[0] == found.rows[-1][0]] if name == "mrr" else []
    return section(
        request,
        "money/part.html",
        one.title,
        name=name,
        part=one,
        found=found,
        chart=chart,
        newest=newest,
        asked=_asked(request),
    )


def _in_units(chart: dict[str, Any] | None) -> dict[str, Any] | None:
    """Lines of currencies, in their units."""
    if chart is None:
        return None
    times, *lines = chart["data"]
    scales = [10 ** decimals(name) for name in chart["names"]]
    shown = [[None if v is None else v / by for v in line] for by, line in zip(scales, lines, strict=True)]
    return {**chart, "data": [times, *shown]}


def download(request: Request) -> Response:
    """The same as CSV: amounts are minor units, as in the metric."""
    _, one = _part(request)
    found = _answer(request, one, CSV_ROWS)
    return csv_of(one.metric or one.recipe, found.columns, found.rows)


def behind(request: Request) -> Response:
    """The events that a figure is made of: those of its currency and month, or up to its day."""
    name, one = _part(request)
    if not one.behind:
        raise HTTPException(404, "this figure has no events of its own")
    sql = (
        EXPLAIN_MRR.sql(_period(request), account=_account(request))
        if one.behind == "explain"
        else RECIPES[one.behind].sql
    )
    found = _bounded(request, sql, CSV_ROWS)
    wanted = {name: value for name in ("currency", *one.by) if (value := query(request, f"of_{name}"))}
    fits = _fitting(found.columns, wanted)
    rows = [row for row in found.rows if fits(row)]
    return page(
        request,
        "money/behind.html",
        name=name,
        part=one,
        columns=found.columns,
        rows=rows[:SHOWN],
        total=len(rows),
        wanted=wanted,
    )


def _fitting(columns: Sequence[str], wanted: Mapping[str, str]) -> Callable[[Sequence[Any]], bool]:
    """Rows with these values. A row with a moment and no month is of the month of it, and of every later day."""

    def fits(row: Sequence[Any]) -> bool:
        told = dict(zip(columns, row, strict=True))
        at = _said(told["moment"])[:10] if told.get("moment") else ""
        return all(
            _said(told[name]) == value if name in told else (at <= value if name == "day" else at[:7] == value[:7])
            for name, value in wanted.items()
        )

    return fits


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


def _answer(request: Request, one: MoneyPart, limit: int) -> BoundedResult:
    sql = (
        METRICS[one.metric].sql(_period(request), account=_account(request)) if one.metric else RECIPES[one.recipe].sql
    )
    return _bounded(request, sql, limit)


def _bounded(request: Request, sql: str, limit: int) -> BoundedResult:
    """A recipe knows what was until a time, a metric what was known then."""
    period = _period(request)
    since = datetime.combine(period.first, time(), UTC)
    as_of = min(period.until, period.known_at)
    account = _account(request)
    return bounded_query(sql, since=since, as_of=as_of, account=account, limit=limit, **place_of(request).lake)


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


def _period(request: Request) -> MetricPeriod:
    """Whole UTC days, as known at a time: the last three months, as known now, unless asked otherwise."""
    now = place_of(request).clock()
    last = _day(request, "to") or now.date()
    first = _day(request, "from") or last - DEFAULT
    if first > last:
        raise HTTPException(400, f"from {first} is after to {last}; exchange them")
    return MetricPeriod(first=first, last=last, known_at=min(_instant(request) or now, now))


def _account(request: Request) -> str:
    """The platform's own unless a Connect account is asked for: what is in another is another's money."""
    return query(request, "account") or OWN_ACCOUNT


def _day(request: Request, name: str) -> date | None:
    told = query(request, name)
    try:
        found = date.fromisoformat(told) if told else None
    except ValueError:
        found = None
    if told and (found is None or not 1970 <= found.year <= 9000):
        raise HTTPException(400, f"{name} is a day such as 2026-11-30")
    return found


def _instant(request: Request) -> datetime | None:
    told = query(request, "known")
    try:
        found = datetime.fromisoformat(told) if told else None
    except ValueError:
        found = None
    if told and (found is None or not 1970 <= found.year <= 9000):
        raise HTTPException(400, "known is a time such as 2026-11-30T08:00, in UTC")
    return (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)) if found else None


def _asked(request: Request) -> Mapping[str, str]:
    return {name: value for name in ("from", "to", "known", "account") if (value := query(request, name))}

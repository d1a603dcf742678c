"""Questions to the lake in SQL: an editor, the answer as a grid, a chart and CSV; read-only and bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nilometer.console.http.answers import chart_of, csv_of
from nilometer.console.http.guard import visitor
from nilometer.console.http.rendering import page, query
from nilometer.console.place import place_of
from nilometer.domain.acts.roles import Permission
from nilometer.domain.lake.all_tables import ALL_TABLES
from nilometer.domain.lake.books import HISTORY
from nilometer.domain.lake.dataset import FOLDER
from nilometer.errors import Refused, Rejected, Unavailable
from nilometer.lake.read.bounded import BoundedResult, bounded_query
from nilometer.lake.read.recipes import RECIPES

SHOWN = 200
CSV_ROWS = 100_000
AT_ONCE = 2  # questions that run at the same time
WAIT_SECONDS = 10.0
_EXAMPLE = "select type, count(*) as events\nfrom stripe_events\ngroup by type\norder by events desc"

_running = threading.BoundedSemaphore(AT_ONCE)


def routes() -> list[BaseRoute]:
    """The editor, and the answer as a file."""
    return [Route("/sql", editor), Route("/sql.csv", download)]


def editor(request: Request) -> Response:
    """Runs what the address asks, so that a link is a question. One that another site made is shown, not run."""
    _reader(request)
    sql, recipe = _asked(request)
    foreign = request.headers.get("sec-fetch-site") == "cross-site"
    found: BoundedResult | None = None
    wrong, began = "", time.monotonic()
    if sql and not foreign:
        try:
            found = _run(request, sql, SHOWN)
        except (Rejected, Unavailable) as error:
            wrong = str(error)
    return page(
        request,
        "sql/editor.html",
        sql=sql or _EXAMPLE,
        recipe=recipe,
        recipes=list(RECIPES.values()),
        found=found,
        wrong=wrong,
        seconds=time.monotonic() - began,
        chart=chart_of(found.columns, found.rows) if found else None,
        address=_address(request),
        **_catalog(),
    )


def download(request: Request) -> Response:
    """Up to 100,000 rows."""
    _reader(request)
    sql, recipe = _asked(request)
    found = _run(request, sql or "select 1 where false", CSV_ROWS)
    return csv_of(recipe or "answer", found.columns, found.rows)


def _reader(request: Request) -> None:
    who = visitor(request)
    who.require(Permission.HISTORY_QUERY)
    if not who.sees_all:
        raise Refused("the lake contains all workspaces, and you may see one")


def _asked(request: Request) -> tuple[str, str]:
    """SQL, and the recipe that it is of."""
    recipe = query(request, "recipe")
    return (cleandoc(RECIPES[recipe].sql), recipe) if recipe in RECIPES else (query(request, "q"), "")


def _run(request: Request, sql: str, limit: int) -> BoundedResult:
    place = place_of(request)
    if not _running.acquire(timeout=WAIT_SECONDS):
        raise Unavailable("other questions run; ask again in a moment")
    try:
        datasets = place.datasets() if f"{FOLDER}." in sql.lower() else ()
        return bounded_query(sql, limit=limit, datasets=datasets, **place.lake)
    finally:
        _running.release()


def _address(request: Request) -> str:
    return str(request.url.query)


def _catalog() -> Mapping[str, Any]:
    """Tables with their columns, and the views of what is current."""
    views = {name: name.removesuffix(HISTORY) for name in ALL_TABLES if name.endswith(HISTORY)}
    return {"tables": list(ALL_TABLES.values()), "views": views}

"""The pages of workspaces."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from nilometer.console.http.guard import visitor
from nilometer.console.http.rendering import page, query, section
from nilometer.console.http.visitor import Visitor
from nilometer.console.place import Place, place_of
from nilometer.console.workspaces import reading
from nilometer.domain.acts.roles import Permission
from nilometer.domain.recovery.history import Step, state
from nilometer.domain.store.keys import INDEXED
from nilometer.flows.recovery.history import show

CHANGES = 100
LEAST_DAYS = 30  # of a chart
_NOISE = {"version", "updated_at", "cause", "inputs", "pk", "sk", "kind", *INDEXED}


def routes() -> list[BaseRoute]:
    """All below `/workspaces`. An id may have a `/` in it, which a server decodes before the route is looked for."""
    return [
        Route("/workspaces", list_workspaces),
        Route("/workspaces/{workspace_id:path}/history", history),
        Route("/workspaces/{workspace_id:path}/as-of", as_of),
        Route("/workspaces/{workspace_id:path}", workspace),
    ]


def list_workspaces(request: Request) -> Response:
    """Fifty at a time, or the one that is asked for by its id."""
    who, place, wanted = visitor(request), place_of(request), query(request, "q")
    who.require(Permission.WORKSPACE_VIEW)
    if who.workspace_id is not None:
        return RedirectResponse(f"/workspaces/{quote(who.workspace_id, safe='')}", status_code=303)
    if wanted:
        one = reading.found(place.store, wanted)
        found = reading.WorkspacesPage(rows=[one] if one else [], after=None)
    else:
        found = reading.listed(place.store, query(request, "after") or None)
    return page(request, "workspaces/list.html", found=found, wanted=wanted)


def workspace(request: Request) -> Response:
    """One workspace, as far as the role sees it."""
    who, place, workspace_id = _of(request)
    found = reading.detail(place.store, workspace_id, who, now=place.clock())
    if found is None:
        raise HTTPException(404, f"nothing is known of workspace {workspace_id}")
    return page(request, "workspaces/workspace.html", found=found, charts=_charts(found, place.clock().date()))


def history(request: Request) -> Response:
    """The changes of its billing record, the newest first, and the slider over their time."""
    place, workspace_id = _readable(request)
    steps = _steps(place, workspace_id)
    return section(
        request,
        "workspaces/history.html",
        f"History of the billing of {workspace_id}",
        workspace_id=workspace_id,
        steps=list(islice(reversed(steps), CHANGES)),
        total=len(steps),
        changed=changed,
        first=int(steps[0].occurred_at.timestamp()) if steps else 0,
        now=int(place.clock().timestamp()) + 1,
    )


def as_of(request: Request) -> Response:
    """What its billing record was at a time, in epoch seconds."""
    place, workspace_id = _readable(request)
    told = query(request, "at", "0")
    if not told.isdecimal() or len(told) > 11:
        raise HTTPException(400, "at is a time in seconds since 1970")
    at = datetime.fromtimestamp(int(told), UTC)
    images = [image for _, image in state(_steps(place, workspace_id, at))]
    shown = {name: value for name, value in images[0].items() if name not in _NOISE} if images else None
    return section(request, "workspaces/as_of.html", f"Billing of {workspace_id} as of a time", at=at, image=shown)


def changed(step: Step) -> dict[str, tuple[Any, Any]]:
    """What a change changed, without what changes every time."""
    return {name: both for name, both in step.fields.items() if name not in _NOISE}


def _steps(place: Place, workspace_id: str, until: datetime | None = None) -> list[Step]:
    return list(show("billing", workspace_id, ledger=place.ledger, objects=place.objects, as_of=until))


def _of(request: Request) -> tuple[Visitor, Place, str]:
    """Who looks, where, and at which workspace; 404 for one that is not theirs, as for one that is not there."""
    who, workspace_id = visitor(request), str(request.path_params["workspace_id"])
    if not workspace_id or not who.sees(workspace_id):
        raise HTTPException(404, f"nothing is known of workspace {workspace_id}")
    who.require(Permission.WORKSPACE_VIEW)
    return who, place_of(request), workspace_id


def _readable(request: Request) -> tuple[Place, str]:
    """For who may read the history of billing."""
    who, place, workspace_id = _of(request)
    who.require(Permission.HISTORY_QUERY)
    who.require(Permission.BILLING_VIEW)
    return place, workspace_id


def _charts(found: reading.WorkspaceDetail, today: date) -> list[dict[str, Any]]:
    """A chart a meter: seconds of the day's start, and what was used on it; at least the last thirty days."""
    charts = []
    for meter, counted in found.days.items():
        first = min(date.fromisoformat(min(counted["days"])), today - timedelta(days=LEAST_DAYS - 1))
        span = [first + timedelta(days=number) for number in range((today - first).days + 1)]
        starts = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in span]
        values = [float(counted["days"].get(day.isoformat(), 0)) for day in span]
        charts.append({"meter": meter, "unit": counted["unit"], "data": [starts, values], "days": counted["days"]})
    return charts

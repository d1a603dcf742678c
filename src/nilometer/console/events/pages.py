"""The pages of events: the live timeline, its stream, the lake's pages, one event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from nilometer.console.events import actions, reading
from nilometer.console.events.timeline import OUTCOMES, STAGES, EventFilter, Timeline
from nilometer.console.http.guard import visitor
from nilometer.console.http.rendering import page, query, render
from nilometer.console.http.visitor import Visitor
from nilometer.console.place import place_of
from nilometer.domain.acts.roles import Permission
from nilometer.errors import Refused, Rejected

LOOK_SECONDS = 0.1  # between two looks at the feed while somebody watches
BEAT_SECONDS = 15.0  # a comment, so that proxies keep the connection


def routes() -> list[BaseRoute]:
    """All below `/events`."""
    return [
        Route("/events", timeline),
        Route("/events/stream", stream),
        Route("/events/lake", lake),
        Route("/event", event),
        *actions.routes(),
    ]


def reader(request: Request) -> Visitor:
    """Who looks, when events are theirs to see: payloads and records of all workspaces, or of one."""
    found = visitor(request)
    found.require(Permission.HISTORY_QUERY)
    if not found.sees_all and not found.workspace_id:
        raise Refused("your token names an empty workspace, which has no events")
    return found


def timeline(request: Request) -> Response:
    """The newest events of the functions' logs; the browser then listens to `/events/stream`."""
    who, lives = reader(request), timeline_of(request)
    lives.refresh()
    wanted, revision = _wanted(request, who), lives.revision
    return page(
        request,
        "events/timeline.html",
        lives=lives.newest(wanted),
        revision=revision,
        polls=not request.app.state.streams,
        types=lives.types(EventFilter(workspace_id=who.workspace_id or "")),
        **_choices(request),
    )


async def stream(request: Request) -> Response:
    """Server-sent events: the rows that changed, as HTML. Ends when the browser goes."""
    who = reader(request)
    wanted, seen = _wanted(request, who), _revision(request)
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(_changes(request, wanted, seen), media_type="text/event-stream", headers=headers)


async def _changes(request: Request, wanted: EventFilter, seen: int) -> AsyncIterator[str]:
    lives, quiet, stays = timeline_of(request), 0.0, request.app.state.streams
    yield f"retry: {1000 if stays else 2000}\n\n"
    while not await request.is_disconnected():
        await run_in_threadpool(lives.refresh)
        # Read first: what another viewer takes in meanwhile is above it, and comes with the next look.
        if (revision := lives.revision) > seen:
            changed = await run_in_threadpool(lives.newest, wanted, since=seen)
            seen, quiet = revision, 0.0
            rows = render(request, "events/rows.html", lives=list(reversed(changed)))
            data = "".join(f"data: {line}\n" for line in rows.splitlines() if line.strip())
            yield f"id: {seen}\nevent: rows\n{data}\n" if changed else ": nothing of yours\n\n"
        elif (quiet := quiet + LOOK_SECONDS) > BEAT_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
        if not stays:
            return
        await asyncio.sleep(LOOK_SECONDS)


def lake(request: Request) -> Response:
    """Accepted events and rejects of all time, from the lake."""
    who = reader(request)
    wanted = {name: query(request, name) for name in ("kind", "type", "outcome", "text", "object")}
    wanted["workspace"] = _workspace(request, who)
    found = reading.listed(place_of(request), wanted, query(request, "after") or None)
    return page(request, "events/lake.html", found=found, types=[], **_choices(request))


def event(request: Request) -> Response:
    """One event: its waterfall, its payload, what it changed, and what may be done."""
    who, name = reader(request), query(request, "name")
    if not name:
        raise HTTPException(404, "name an event: /event?name=evt_...")
    found = _detail(request, who, name)
    life = timeline_of(request).find(found.name if found else name, who.workspace_id) if found or who.sees_all else None
    status = 200 if found or life else 404
    return page(request, "events/event.html", status=status, name=name, found=found, life=life)


def _detail(request: Request, who: Visitor, name: str) -> reading.EventDetail | None:
    """None of an event that is not theirs. Whether several have this id is not told to who sees one workspace."""
    account = query(request, "account") or None
    try:
        found = reading.detail(place_of(request), name, account=account, only_of=who.workspace_id)
    except Rejected:
        if who.sees_all:
            raise
        return None
    return found if found.trace.known and who.sees(found.workspace_id) else None


def timeline_of(request: Request) -> Timeline:
    """The one that all viewers share."""
    found: Timeline = request.app.state.timeline
    return found


def _wanted(request: Request, who: Visitor) -> EventFilter:
    return EventFilter(
        type=query(request, "type"),
        workspace_id=_workspace(request, who),
        outcome=query(request, "outcome"),
        kind=query(request, "kind"),
        text=query(request, "text"),
    )


def _workspace(request: Request, who: Visitor) -> str:
    """The one whose events are shown; empty for all, which only they may choose who see all."""
    return query(request, "workspace") if who.sees_all else str(who.workspace_id)


def _choices(request: Request) -> Mapping[str, Any]:
    names = ("type", "workspace", "outcome", "kind", "text", "object")
    return {"asked": {name: query(request, name) for name in names}, "outcomes": OUTCOMES, "kinds": tuple(STAGES)}


def _revision(request: Request) -> int:
    """Where the browser was when the connection broke, or when the page was made."""
    told = request.headers.get("last-event-id") or query(request, "since", "0")
    return int(told) if told.isdecimal() and len(told) < 16 else 0

"""The customer's own page: plan, limits and usage of one workspace, for the holder of a session.

Your service opens a session for its user (`nilometer.issue(store, caller, OpenSession(user_id=..., valid_until=...))`)
and shows `/portal?token=...` in a frame of its own page. The role of the member decides what is shown.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from nilometer.console.http.guard import HEADERS
from nilometer.console.http.rendering import query
from nilometer.console.place import place_of
from nilometer.domain.acts.act import Caller
from nilometer.domain.acts.roles import Permission
from nilometer.errors import Refused
from nilometer.flows.billing.reading import show_billing
from nilometer.flows.people.access import authenticate
from nilometer.flows.recovery.overview import usage_of

THEMES = ("light", "dark")


def routes() -> list[BaseRoute]:
    """One page."""
    return [Route("/portal", portal)]


def portal(request: Request) -> Response:
    """403 for a token that is unknown, expired or revoked, all with the same message."""
    place = place_of(request)
    try:
        caller = authenticate(place.store, query(request, "token"), now=place.clock())
        caller.require(Permission.USAGE_VIEW)
    except Refused:
        return _framed(request, "portal/closed.html", status=403)
    usage = usage_of(place.store, caller.workspace_id, now=place.clock())
    billing = show_billing(place.store, caller.workspace_id, now=place.clock()) if _sees_plan(caller) else None
    return _framed(
        request, "portal/portal.html", usage=usage, billing=billing, limits=caller.may(Permission.LIMIT_VIEW)
    )


def _sees_plan(caller: Caller) -> bool:
    return caller.may(Permission.BILLING_VIEW)


def _framed(request: Request, template: str, *, status: int = 200, **values: object) -> Response:
    """May stand in a frame of the embedders; its address, which holds the token, is sent to nobody."""
    embedders = " ".join(("'self'", *request.app.state.embedders))
    policy = HEADERS["content-security-policy"].replace("frame-ancestors 'none'", f"frame-ancestors {embedders}")
    asked = query(request, "theme")
    shown = request.app.state.templates.get_template(template).render(
        theme=asked if asked in THEMES else "auto", **values
    )
    headers = {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "cross-origin",
    }
    return HTMLResponse(shown, status_code=status, headers=headers)

"""The application: its routes, what goes before them, and what a failure looks like."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from nilometer.aws.clients import AWS_ERRORS
from nilometer.console.events import pages as events
from nilometer.console.events.timeline import Timeline
from nilometer.console.http.guard import Form, Guard, Seal, action, cookie, visitor
from nilometer.console.http.rendering import THEMES, back, environment, page
from nilometer.console.http.visitor import KEY_COOKIE, ROLE_COOKIE, WORKSPACE_COOKIE, Gate, LaptopGate, Visitor
from nilometer.console.money import pages as money
from nilometer.console.operations import pages as operations
from nilometer.console.place import Place
from nilometer.console.portal import pages as portal
from nilometer.console.sql import pages as sql
from nilometer.console.workspaces import pages as workspaces
from nilometer.domain.acts.roles import Permission, Role
from nilometer.errors import Misconfigured, NilometerError, Refused, Rejected, Unavailable

_log = logging.getLogger("nilometer.console")

LOCAL_HOSTS = ("127.0.0.1", "localhost")
_STATUS = {Refused: 403, Rejected: 400, Misconfigured: 500, Unavailable: 503}


def application(
    place: Place,
    *,
    gate: Gate,
    hosts: Sequence[str] = LOCAL_HOSTS,
    origins: Sequence[str] = (),
    embedders: Sequence[str] = (),
    seal: Seal | None = None,
    streams: bool = True,
) -> Starlette:
    """Serves `place` to whom the `gate` lets in, under one of the `hosts`; any host when there are none.

    Forms come from the request's own host, or from one of the `origins` of a proxy before it. `embedders` are the
    origins whose pages may show the customer's page in a frame. Several processes that serve one console share a
    `seal`. Without `streams` an answer never stays open: the browser asks again every two seconds.
    """
    routes = [
        Route("/", home),
        *events.routes(),
        *workspaces.routes(),
        *operations.routes(),
        *money.routes(),
        *sql.routes(),
        *portal.routes(),
        action("/as", look_as, allowed=visitor),
        action("/theme", choose_theme, allowed=visitor),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]
    made = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, gate=gate, hosts=hosts)],
        exception_handlers=dict.fromkeys((HTTPException, NilometerError, *AWS_ERRORS, Exception), _failed),
    )
    made.state.place = place
    made.state.gate = gate
    made.state.embedders = tuple(embedders)
    made.state.origins = frozenset(origins)
    made.state.streams = streams
    made.state.seal = seal or Seal()
    made.state.templates = environment()
    made.state.timeline = Timeline(place.feed)
    return made


def home(request: Request) -> Response:
    """The page that most look for first, by role. A key in the address becomes a cookie and leaves the address."""
    gate = request.app.state.gate
    if isinstance(gate, LaptopGate) and gate.key and gate.opens(request.query_params.get("key")):
        return RedirectResponse("/", status_code=303, headers={"set-cookie": cookie(KEY_COOKIE, gate.key)})
    if visitor(request).may(Permission.HISTORY_QUERY):
        return events.timeline(request)
    return RedirectResponse("/workspaces", status_code=303)


def look_as(request: Request, form: Form) -> Response:
    """Another role, maybe in one workspace. Only where the gate believes cookies."""
    if not isinstance(request.app.state.gate, LaptopGate):
        raise HTTPException(403, "your role is in your token")
    role, workspace_id = form.get("role", ""), form.get("workspace", "").strip()
    if role not in list(Role):
        raise HTTPException(400, "choose one of the roles")
    answer = RedirectResponse("/", status_code=303)
    answer.headers.append("set-cookie", cookie(ROLE_COOKIE, Role(role).value))
    answer.headers.append("set-cookie", cookie(WORKSPACE_COOKIE, quote(workspace_id, safe="")))
    return answer


def choose_theme(request: Request, form: Form) -> Response:
    """Light, dark, or as the system."""
    chosen = form.get("theme") if form.get("theme") in THEMES else "auto"
    answer = back(request)
    answer.headers.append("set-cookie", cookie("nilometer_theme", str(chosen)))
    return answer


def _is_of_aws(error: Exception) -> bool:
    """Whether it has the words of AWS, which names accounts, roles and tables: not for a customer's member."""
    return isinstance(error, AWS_ERRORS) or (isinstance(error, Unavailable) and isinstance(error.__cause__, AWS_ERRORS))


def _failed(request: Request, error: Exception) -> Response:
    """One sentence of ours; of a defect nothing but that there was one."""
    looking: Visitor | None = getattr(request.state, "visitor", None)
    if isinstance(error, HTTPException):
        status, said = error.status_code, str(error.detail)
    elif _is_of_aws(error) and not (looking and looking.sees_all):
        _log.warning("%s", error)
        status, said = 503, "an AWS service refused or did not answer; try again later, or tell who runs this console"
    elif isinstance(error, NilometerError):
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        said = str(error)
    elif isinstance(error, AWS_ERRORS):
        status, said = 503, f"AWS: {error}"
    else:
        status, said = 500, "this page failed; the terminal of the console has the traceback"
    if request.headers.get("hx-request"):
        return page(request, "parts/said.html", said=said, wrong=True, status=status)
    return page(request, "parts/failed.html", said=said, code=status, status=status)

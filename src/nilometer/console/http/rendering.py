"""Pages and parts of pages from templates; whatever stands in a value is escaped."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from nilometer.console.http import formats
from nilometer.domain.acts.roles import Permission, Role

THEMES = ("auto", "light", "dark")


def environment() -> Environment:
    """Escapes by itself, and fails for a name that a page forgot to give."""
    made = Environment(
        loader=PackageLoader("nilometer.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(formats.FILTERS)
    made.filters["zip"] = zip
    made.tests.update(formats.TESTS)
    made.globals.update(roles=list(Role), themes=THEMES, Permission=Permission)
    return made


def render(request: Request, template: str, **values: Any) -> str:
    """The text of a template, with what every page knows: visitor, stack, token of its forms, theme."""
    common = {
        "request": request,
        "visitor": request.state.visitor,
        "place": request.app.state.place,
        "csrf": request.app.state.seal.token(request.state.session),
        "theme": theme_of(request),
        "path": request.url.path,
    }
    text: str = request.app.state.templates.get_template(template).render(**common, **values)
    return text


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """One template as the answer."""
    return HTMLResponse(render(request, template, **values), status_code=status)


def theme_of(request: Request) -> str:
    """The chosen one; `auto` follows the system."""
    chosen = request.cookies.get("nilometer_theme", "auto")
    return chosen if chosen in THEMES else "auto"


def back(request: Request, fallback: str = "/", *, said: str = "") -> Response:
    """To the page that the form was on; for htmx one line instead."""
    if request.headers.get("hx-request"):
        return page(request, "parts/said.html", said=said, wrong=False)
    path = request.headers.get("referer", "")
    host = f"//{request.headers.get('host')}/"
    target = "/" + path.partition(host)[2] if host in path else fallback
    return RedirectResponse(target if not target.startswith("//") else fallback, status_code=303)


def query(request: Request, name: str, default: str = "") -> str:
    """A parameter of the address, without the spaces around it."""
    return request.query_params.get(name, default).strip()

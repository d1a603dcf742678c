"""Pages and parts of pages from templates; whatever stands in a value is escaped."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from nilometer.console.http import formats
from nilometer.console.http.visitor import LaptopGate
from nilometer.domain.acts.roles import Permission, Role
from nilometer.domain.acts.text import shown

THEMES = ("auto", "light", "dark")
OUTCOME_COOKIE = "nilometer_outcome"
OUTCOME_SECONDS = 60  # between an action and the page that shows what it did
OUTCOME_LENGTH = 300  # a cookie has 4,096 bytes


def environment() -> Environment:
    """Escapes by itself, shows what would turn the direction of a line, and fails for a name that a page forgot."""
    made = Environment(
        loader=PackageLoader("nilometer.console"),
        autoescape=True,
        finalize=_harmless,
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


def _harmless(value: Any) -> Any:
    """A text from outside: a direction override could make an id read as another one (Unicode TR 36)."""
    return shown(value, lines=True) if type(value) is str else value


def render(request: Request, template: str, **values: Any) -> str:
    """The text of a template, with what every page knows: visitor, stack, token of its forms, theme."""
    common = {
        "request": request,
        "visitor": request.state.visitor,
        "chooses": isinstance(request.app.state.gate, LaptopGate),
        "place": request.app.state.place,
        "csrf": request.app.state.seal.token(request.state.session),
        "theme": theme_of(request),
        "path": request.url.path,
        "outcome": _outcome(request),
    }
    text: str = request.app.state.templates.get_template(template).render(**common, **values)
    return text


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """One template as the answer. A whole page shows the outcome of the last action, and no later page does."""
    answer = HTMLResponse(render(request, template, **values), status_code=status)
    if OUTCOME_COOKIE in request.cookies and not is_part(request):
        answer.delete_cookie(OUTCOME_COOKIE, httponly=True, samesite="strict")
    return answer


def section(request: Request, template: str, title: str, **values: Any) -> Response:
    """A section that htmx puts into a page; a browser without scripts gets it as a page of its own."""
    if is_part(request):
        return page(request, template, **values)
    return page(request, "parts/alone.html", section=template, title=title, **values)


def is_part(request: Request) -> bool:
    """Whether htmx asks, which puts the answer into a page that is open."""
    return bool(request.headers.get("hx-request"))


def theme_of(request: Request) -> str:
    """The chosen one; `auto` follows the system."""
    chosen = request.cookies.get("nilometer_theme", "auto")
    return chosen if chosen in THEMES else "auto"


def back(request: Request, fallback: str = "/", *, said: str = "") -> Response:
    """To the page that the form was on, which then shows what was done; for htmx only that line."""
    if is_part(request):
        return page(request, "parts/said.html", said=said, wrong=False)
    path = request.headers.get("referer", "")
    host = f"//{request.headers.get('host')}/"
    target = "/" + path.partition(host)[2] if host in path else fallback
    answer = RedirectResponse(target if not target.startswith("//") else fallback, status_code=303)
    if said:
        _keep_outcome(request, answer, said[:OUTCOME_LENGTH])
    return answer


def _keep_outcome(request: Request, answer: Response, said: str) -> None:
    """In a cookie with our seal: another server of this host name may set cookies too."""
    secure = request.url.scheme == "https"
    value = f"{request.app.state.seal.token(_sealed(request, said))}.{quote(said, safe='')}"
    answer.set_cookie(OUTCOME_COOKIE, value, OUTCOME_SECONDS, httponly=True, samesite="strict", secure=secure)


def _outcome(request: Request) -> str:
    """Of the last action, for the first page after it; empty of what this session did not do."""
    token, _, quoted = request.cookies.get(OUTCOME_COOKIE, "").partition(".")
    said = unquote(quoted)
    return said if request.app.state.seal.holds(_sealed(request, said), token) else ""


def _sealed(request: Request, said: str) -> str:
    return f"{request.state.session}\n{said}"


def query(request: Request, name: str, default: str = "") -> str:
    """A parameter of the address, without the spaces around it."""
    return request.query_params.get(name, default).strip()

"""What is refused before any page runs: unknown users, forged forms, foreign hosts; and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nilometer.console.http.visitor import Gate, Visitor

SESSION_COOKIE = "nilometer_session"
BODY_BYTES = 100_000  # of a form
HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

Form = Mapping[str, str]
Action = Callable[[Request, Form], Response]


@dataclass(frozen=True, slots=True)
class Seal:
    """Makes and checks the tokens of forms: each belongs to one browser session and to whoever has the secret."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def token(self, session: str) -> str:
        """Goes into each form of the session."""
        return hmac.new(self.secret, session.encode(), hashlib.sha256).hexdigest()

    def holds(self, session: str | None, token: str) -> bool:
        """False without a session, and for the token of another one."""
        return bool(session) and hmac.compare_digest(self.token(str(session)).encode(), token.encode())


class Guard:
    """ASGI middleware: names the visitor, gives the browser a session, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, *, gate: Gate, hosts: Sequence[str]) -> None:
        self._app, self._gate, self._hosts = app, gate, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a host that is not ours: a page of another site that resolves its name to this machine."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        session = request.cookies.get(SESSION_COOKIE)
        looking = await run_in_threadpool(self._gate.visitor, request)
        scope["state"] = {
            **scope.get("state", {}),
            "visitor": looking,
            "session": session or secrets.token_urlsafe(32),
        }

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                _dress(MutableHeaders(scope=message), scope, fresh=session is None)
            await send(message)

        if self._hosts and (urlsplit(f"//{request.headers.get('host', '')}").hostname or "") not in self._hosts:
            await Response("this console answers for its own host only", 421)(scope, receive, answered)
            return
        await self._app(scope, receive, answered)


def _dress(headers: MutableHeaders, scope: Scope, *, fresh: bool) -> None:
    framed = "content-security-policy" in headers  # by a page that says itself who may
    for name, value in HEADERS.items():
        if not (framed and name == "x-frame-options"):
            headers.setdefault(name, value)
    if fresh:
        secure = "; Secure" if scope["scheme"] == "https" else ""
        # Lax: a link of another site brings it along. Else it began a new session, and pages that are open lost theirs.
        headers.append("set-cookie", cookie(SESSION_COOKIE, scope["state"]["session"], site="Lax") + secure)


def cookie(name: str, value: str, *, site: str = "Strict") -> str:
    """Unseen by scripts. Sent with requests of this site only; `Lax`: and when a link of another one is opened."""
    return f"{name}={value}; Path=/; HttpOnly; SameSite={site}"


def visitor(request: Request) -> Visitor:
    """Who looks; 401 for nobody."""
    found: Visitor | None = request.state.visitor
    if found is None:
        raise HTTPException(401, request.app.state.gate.closed)
    return found


def operator(request: Request) -> Visitor:
    """Who looks, when that is an Admin of the whole stack; else 403."""
    found = visitor(request)
    if not found.operates:
        raise HTTPException(403, "only an Admin of the whole stack may do this")
    return found


def action(path: str, act: Action, *, allowed: Callable[[Request], Visitor] = operator) -> Route:
    """A route that changes something: by POST, with the token of a form of this session, and for `allowed` people."""

    async def endpoint(request: Request) -> Response:
        form = await _form(request)
        seal: Seal = request.app.state.seal
        token = request.headers.get("x-csrf-token") or form.get("csrf", "")
        if not _is_same(request) or not seal.holds(request.cookies.get(SESSION_COOKIE), token):
            raise HTTPException(403, "the form is not of this session; load the page again")
        allowed(request)
        return await run_in_threadpool(act, request, form)

    return Route(path, endpoint, methods=["POST"])


def _is_same(request: Request) -> bool:
    """Whether the form was on a page of ours. A request without an origin was not sent by a page of another one."""
    origin = request.headers.get("origin")
    own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    return own or origin in request.app.state.origins


async def _form(request: Request) -> Form:
    """Of a small form: a field that comes twice has its last value."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise HTTPException(413, "the form is too large")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))

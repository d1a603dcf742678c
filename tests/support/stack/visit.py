"""The console as a plain HTTP client sees it."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit


@dataclass(frozen=True)
class Reply:
    """An answer of the console."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Visit:
    """An HTTP client with cookies, as a browser would send them, and the token of the last page."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, None, headers)

    def post(self, path: str, form: Mapping[str, str] = {}, **headers: str) -> Reply:
        """With the token of this session."""
        if not self.csrf:
            self.get("/workspaces")
        return self.send("POST", path, {"csrf": self.csrf, **form}, headers)

    def send(self, method: str, path: str, form: Mapping[str, str] | None, headers: Mapping[str, str] = {}) -> Reply:
        told = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            told["content-type"] = "application/x-www-form-urlencoded"
        reply = self._asked(method, path, urlencode(form) if form is not None else None, told)
        if found := re.search(r'<meta name="csrf" content="(\w+)"', reply.text):
            self.csrf = found[1]
        return reply

    def _asked(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Reply:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=120)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return self._replied(answer.status, answer.getheaders(), content)

    def _replied(self, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> Reply:
        told = list(headers)
        for name, value in told:
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                if "max-age=0" in rest.lower():
                    self.cookies.pop(key, None)
                else:
                    self.cookies[key] = rest.partition(";")[0].strip('"')
        return Reply(status, dict(told), content.decode())

    def look_as(self, role: str, workspace: str = "") -> Visit:
        """The same person in another role."""
        assert self.post("/as", {"role": role, "workspace": workspace}).status == 303
        return self


@dataclass
class InsideVisit(Visit):
    """The same of an application in this process, without a port."""

    app: Any = None

    def _asked(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Reply:
        messages: list[dict[str, Any]] = []
        told = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
        bare, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": unquote(bare),
            "raw_path": bare.encode(),
            "query_string": query.encode(),
            "headers": told,
        }

        asked = iter([{"type": "http.request", "body": (body or "").encode(), "more_body": False}])

        async def receive() -> dict[str, Any]:
            return next(asked, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        try:
            with ThreadPoolExecutor(1) as pool:  # a browser's event loop may run in this thread
                pool.submit(asyncio.run, self.app(scope, receive, send)).result()
        except Exception:  # of a page that failed and was answered for
            if not messages:
                raise
        start = next(one for one in messages if one["type"] == "http.response.start")
        content = b"".join(one.get("body", b"") for one in messages if one["type"] == "http.response.body")
        return self._replied(start["status"], [(a.decode(), b.decode()) for a, b in start["headers"]], content)

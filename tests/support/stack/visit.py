"""The console as a plain HTTP client sees it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit


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
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        told = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            told["content-type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urlencode(form) if form is not None else None, told)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0].strip('"')
        reply = Reply(answer.status, dict(answer.getheaders()), answer.read().decode())
        if found := re.search(r'<meta name="csrf" content="(\w+)"', reply.text):
            self.csrf = found[1]
        connection.close()
        return reply

    def look_as(self, role: str, workspace: str = "") -> Visit:
        """The same person in another role."""
        assert self.post("/as", {"role": role, "workspace": workspace}).status == 303
        return self

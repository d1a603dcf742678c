"""What a page of another site makes a browser ask of this machine: refused, for the local stack takes any credentials.

A browser names the page that asks in `Origin` or `Sec-Fetch-Site`, and a name that was made to resolve to this machine
stands in `Host`. Programs send none of these but the host that they were told.
Source: Fetch Standard, "HTTP extensions"; Fetch Metadata Request Headers, section 2.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from nilometer.local.front.server import Application, Event

_S3 = re.compile(r"(.+\.)?s3(\.[a-z0-9-]+)?\.amazonaws\.com")  # which AWS alone points anywhere
_TELLING = frozenset({b"host", b"origin", b"sec-fetch-mode", b"sec-fetch-site"})
_HOSTS = 100  # that are remembered
REFUSAL = "only programs, and pages of this machine, are answered here"
_OWN_NAMES = (".localhost", ".internal")  # that nobody can register: RFC 6761, and ICANN's resolution 2024.07.29.06


def is_foreign(headers: Mapping[str, str], query: str = "") -> bool:
    """Whether another site's page asks; names of headers are in lower case. A link to a signed object may be opened."""
    if "host" in headers and not _is_ours(headers["host"]):
        return True
    if "origin" in headers:
        return not _is_here(_name(headers["origin"]))
    opened = headers.get("sec-fetch-mode") == "navigate" and "X-Amz-Signature=" in query and "Action=" not in query
    return headers.get("sec-fetch-site") == "cross-site" and not opened


def for_this_machine(application: Application) -> Application:
    """The application, which answers 403 to pages of other sites."""

    async def answering(scope: Event, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and _asks_from_elsewhere(scope):
            await _refuse(send)
        else:
            await application(scope, receive, send)

    return answering


def _asks_from_elsewhere(scope: Event) -> bool:
    told = ((name, value) for name, value in scope["headers"] if name in _TELLING)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in told}
    return is_foreign(headers, scope["query_string"].decode("latin-1"))


@lru_cache(_HOSTS)
def _is_ours(host: str) -> bool:
    """Of the header `Host`, which is the same in most requests."""
    return _is_own(_name(f"//{host}"))


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    """An address, or a name that no page of another site can have."""
    known = _address(host) is not None or _S3.fullmatch(host) is not None
    return bool(host) and (known or "." not in host or host.endswith(_OWN_NAMES))


def _is_here(host: str) -> bool:
    found = _address(host)
    return found.is_loopback if found else host == "localhost" or host.endswith(".localhost")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _refuse(send: Any) -> None:
    body = REFUSAL.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})

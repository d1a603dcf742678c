"""Requests in AWS's JSON protocols, past the places where the engine looks for other things first.

MiniStack asks of each request whether it is a page of its own, a browser's preflight, an API of API Gateway, a load
balancer, a bucket by its host name, and more. `POST /` to this machine with `X-Amz-Target` is none of these. What its
service answers is the same, and so are errors; without what a browser wants to know, which costs each SDK more to read
than a small answer.
"""

from __future__ import annotations

import time
import uuid
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from ministack import app as engine  # type: ignore[import-untyped]  # it has no types
from ministack.core import responses, router  # type: ignore[import-untyped]  # as above

from nilometer.local.front.server import Application, Event

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

_OTHERS = ("origin", "content-encoding", "x-amz-decoded-content-length", "x-amz-trailer", "x-forwarded-proto")
_BROWSERS = "Access-Control-"
_HOSTS = ("127.0.0.1", "localhost")


def directly(application: Application) -> Application:
    """The application, whose JSON requests go to their service at once; everything else takes its own way."""

    async def answering(scope: Event, receive: Any, send: Any) -> None:
        headers = _headers(scope)
        if headers is None or engine._get_reset_lock().locked():
            await application(scope, receive, send)
            return
        responses.set_request_client_ip(scope["client"][0])
        if access_key := router.extract_access_key_id(headers):
            responses.set_request_account_id(access_key)
        responses.set_request_region(router.extract_region(headers))
        body = (await receive())["body"]
        status, found, content = await engine._dispatch_service_request(
            "POST", "/", headers, body, {}, str(uuid.uuid4())
        )
        found = {name: value for name, value in found.items() if not name.startswith(_BROWSERS)}
        found.setdefault("Date", _date(int(time.time())))
        await engine._send_if_handled(send, (status, found, content), receive)

    return answering


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _headers(scope: Event) -> dict[str, str] | None:
    """None for what is no plain request of a JSON protocol."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/" or scope["query_string"]:
        return None
    headers = {name.decode("latin-1"): engine.decode_header_value(value) for name, value in scope["headers"]}
    plain = "x-amz-target" in headers and len(headers) == len(scope["headers"]) and not engine.AUTH
    if not plain or headers.get("host", "").partition(":")[0] not in _HOSTS or any(name in headers for name in _OTHERS):
        return None
    return headers

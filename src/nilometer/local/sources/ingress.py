"""HTTP as API Gateway's HTTP API gives it to a function: payload format 2.0, the routes as deployed.

Source: API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs" and "Create
routes for HTTP APIs".
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from nilometer.errors import Misconfigured, Unavailable
from nilometer.local.front.foreign import REFUSAL, is_foreign
from nilometer.local.front.handler import QuickHandler
from nilometer.local.plane.deployed import Route
from nilometer.local.workers.runtime import InvocationResult

BODY_BYTES = 10 * 1024 * 1024  # API Gateway's limit
_IDLE_SECONDS = 75
_DISCARDED_BYTES = 10 * BODY_BYTES
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")

Invoke = Callable[[str, bytes], InvocationResult]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request whose body is read. `headers` in the client's order, names in lower case."""

    method: str
    target: str  # path and query as they came
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` may name one twice, as `set-cookie` does."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, status: int, message: str) -> Response:
        """API Gateway's form of its own errors: `{"message": ...}`."""
        return cls.json(status, {"message": message})

    @classmethod
    def json(cls, status: int, value: object) -> Response:
        """Status 200 or another, with `value` as JSON."""
        return cls(status, [("content-type", "application/json")], json.dumps(value).encode())


Control = Callable[[Request], Response]


class Ingress:
    """Listens from `start` to `stop`. `controls` answer exact `METHOD /path` themselves, before any route."""

    def __init__(
        self, *, port: int, routes: Sequence[Route], invoke: Invoke, controls: Mapping[str, Control] | None = None
    ) -> None:
        self._routes = sorted(routes, key=lambda route: _precedence(route.key), reverse=True)
        self._invoke = invoke
        self.controls = dict(controls or {})
        try:
            self._server = _IngressServer(("127.0.0.1", port), type("Handler", (_IngressHandler,), {"ingress": self}))
        except OSError as error:
            raise Misconfigured(f"port {port} is taken; choose another or 0 for a free one") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="ingress", daemon=True)

    @property
    def port(self) -> int:
        """The one that it listens on, also when a free one was asked for."""
        return self._server.server_port

    def start(self) -> None:
        """Returns at once: the port has been bound since the ingress was made."""
        self._thread.start()

    def stop(self) -> None:
        """Refuses new connections and cuts the open ones."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut()

    def respond(self, request: Request) -> Response:
        """By a control, else by the first route that matches, else 404. Blocks while the function runs."""
        path = urlsplit(request.target).path
        if control := self.controls.get(f"{request.method} {path}"):
            if request.method != "GET" and is_foreign(dict(request.headers)):
                return Response.of(403, REFUSAL)
            try:
                return control(request)
            except Unavailable as error:
                return Response.of(503, str(error))
        for route in self._routes:
            parameters = match(route.key, request.method, path)
            if parameters is not None:
                event = event_of(request, route, parameters)
                return response_of(self._invoke(route.function, json.dumps(event).encode()))
        return Response.of(404, "Not Found")


def _precedence(key: str) -> tuple[bool, bool, bool, int]:
    """Exact paths, then variables, then greedy ones, then `$default`; a method before ANY."""
    method, _, path = key.partition(" ")
    return (key != "$default", "+}" not in path, "{" not in path, len(path) * 2 + (method != "ANY"))


def match(key: str, method: str, path: str) -> dict[str, str] | None:
    """The path parameters when a route takes a request, None when it does not."""
    if key == "$default":
        return {}
    wanted, _, pattern = key.partition(" ")
    if wanted not in ("ANY", method):
        return None
    return _path_parameters(pattern.strip("/").split("/"), path.strip("/").split("/"))


def _path_parameters(pattern: list[str], path: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for index, part in enumerate(pattern):
        if part.endswith("+}"):
            rest = "/".join(path[index:])
            return {**found, part[1:-2]: unquote(rest)} if rest else None
        if index >= len(path) or not (part == path[index] or (part.startswith("{") and path[index])):
            return None
        if part.startswith("{"):
            found[part[1:-1]] = unquote(path[index])
    return found if len(pattern) == len(path) else None


def event_of(request: Request, route: Route, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The function's event, payload format 2.0: header names in lower case, repeated ones joined by commas."""
    url = urlsplit(request.target)
    headers = _joined((name.lower(), value) for name, value in request.headers)
    cookies = headers.pop("cookie", "")
    body, encoded = _body(request.body, headers.get("content-type", ""))
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": unquote(url.path),
        "rawQueryString": url.query,
        "headers": headers,
        "requestContext": _context(request, route, unquote(url.path), headers),
        "isBase64Encoded": encoded,
    }
    optional = {
        "cookies": [cookie.strip() for cookie in cookies.split(";")] if cookies else None,
        "queryStringParameters": _joined(parse_qsl(url.query, keep_blank_values=True)),
        "pathParameters": dict(parameters),
        "body": body,
    }
    return event | {name: value for name, value in optional.items() if value}


def _joined(pairs: Any) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    """As text when the media type says text and it is UTF-8, otherwise in base64."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith(_TEXT_TYPES) or media_type.endswith(("+json", "+xml")):
        with contextlib.suppress(UnicodeDecodeError):
            return body.decode(), False
    return base64.b64encode(body).decode(), bool(body)


def _context(request: Request, route: Route, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "accountId": "000000000000",
        "apiId": route.api,
        "domainName": headers.get("host", ""),
        "domainPrefix": route.api,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": str(uuid.uuid4()),
        "routeKey": route.key,
        "stage": "$default",
        "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(time.time() * 1000),
    }


def response_of(answer: InvocationResult) -> Response:
    """A function error or an answer that is no response is a 500; an answer without `statusCode` is a JSON body."""
    if answer.error == "TooManyRequestsException":
        return Response.of(503, "Service Unavailable")
    if answer.error:
        return Response.of(500, "Internal Server Error")
    try:
        value = json.loads(answer.payload or b"null")
        if not isinstance(value, dict) or "statusCode" not in value:
            return Response.json(200, value)
        return _stated(value)
    except (ValueError, TypeError, AttributeError):
        return Response.of(500, "Internal Server Error")


def _stated(value: Mapping[str, Any]) -> Response:
    body = value.get("body") or ""
    headers = [(str(name).lower(), str(each)) for name, each in (value.get("headers") or {}).items()]
    headers += [("set-cookie", cookie) for cookie in value.get("cookies") or ()]
    if not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain; charset=utf-8"))
    raw = base64.b64decode(body) if value.get("isBase64Encoded") else str(body).encode()
    return Response(int(value["statusCode"]), headers, raw)


class _IngressServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # connections that wait to be accepted

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own business."""

    def cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _IngressHandler(QuickHandler):
    ingress: ClassVar[Ingress]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a small answer would wait 40 ms
    timeout = _IDLE_SECONDS
    wbufsize = -1

    def _serve(self) -> None:
        body = self._body()
        if isinstance(body, Response):
            # The rest of the body is not read, so the connection cannot go on.
            self.close_connection = True
            self._reply(body)
            return
        headers = list(self.headers.items())
        self._reply(self.ingress.respond(Request(self.command, self.path, headers, body, self.client_address[0])))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815  # http.server's names

    def _body(self) -> bytes | Response:
        if "Transfer-Encoding" in self.headers:
            return Response.of(411, "Length Required")
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            return Response.of(400, "Bad Request")
        if int(length) > BODY_BYTES:
            self._discard(min(int(length), _DISCARDED_BYTES))
            return Response.of(413, "Request Entity Too Large")
        return self.rfile.read(int(length))

    def _discard(self, length: int) -> None:
        """A client reads no answer before it has sent its body."""
        while length > 0 and (chunk := self.rfile.read(min(length, 65536))):
            length -= len(chunk)

    def _reply(self, response: Response) -> None:
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(response.body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Requests are the function's to log; paths may carry tokens."""

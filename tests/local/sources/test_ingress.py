"""HTTP as API Gateway's HTTP API hands it to a function."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.project import least

from nilometer.local.sources.ingress import BODY_BYTES, Request, Response, match

ECHO = """
    def handler(event, context):
        return {"statusCode": 201, "headers": {"X-Seen": "yes"}, "cookies": ["a=1"], "body": json.dumps(event)}
"""


def send(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def echoed(response: http.client.HTTPResponse) -> dict[str, Any]:
    return dict(json.loads(response.read()))


def test_a_request_becomes_a_payload_2_0_event(deploy: Callable[..., Any]) -> None:
    """API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", payload format 2.0."""
    runner = deploy(ECHO, routes=("POST /webhooks/{kind}",)).runner()

    response = send(
        runner.port,
        "POST",
        "/webhooks/stripe%20x?a=1&a=2&b=",
        '{"é": 1}'.encode(),
        Content_Type="application/json; charset=utf-8",
        Stripe_Signature="t=1,v1=x",
        Cookie="c=1; d=2",
    )

    assert (response.status, response.getheader("x-seen"), response.getheader("set-cookie")) == (201, "yes", "a=1")
    event = echoed(response)
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /webhooks/{kind}"
    assert event["rawPath"] == "/webhooks/stripe x"
    assert event["rawQueryString"] == "a=1&a=2&b="
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["pathParameters"] == {"kind": "stripe x"}
    assert event["cookies"] == ["c=1", "d=2"]
    assert event["headers"]["stripe-signature"] == "t=1,v1=x"
    assert all(name == name.lower() for name in event["headers"])
    assert (event["body"], event["isBase64Encoded"]) == ('{"é": 1}', False)
    context = event["requestContext"]["http"]
    assert (context["method"], context["path"], context["sourceIp"]) == ("POST", "/webhooks/stripe x", "127.0.0.1")


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"\xff\x00", "application/json"), (b"plain", "application/octet-stream")]
)
def test_a_body_that_is_no_text_comes_in_base64(deploy: Callable[..., Any], body: bytes, content_type: str) -> None:
    """API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs", isBase64Encoded."""
    import base64

    runner = deploy(ECHO, routes=("$default",)).runner()

    event = echoed(send(runner.port, "PUT", "/any", body, Content_Type=content_type))

    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == body


def test_what_no_route_takes_is_not_found(deploy: Callable[..., Any]) -> None:
    """API Gateway Developer Guide, "Create routes for HTTP APIs": no match and no `$default` is a 404."""
    runner = deploy(ECHO, routes=("POST /webhooks/stripe",)).runner()

    assert send(runner.port, "GET", "/webhooks/stripe").status == 404
    assert echoed(send(runner.port, "POST", "/elsewhere")) == {"message": "Not Found"}


def test_a_function_error_is_an_internal_server_error(deploy: Callable[..., Any]) -> None:
    """API Gateway Developer Guide, "Troubleshooting HTTP API Lambda integrations"."""
    runner = deploy("def handler(event, context): raise ValueError('secret')", routes=("$default",)).runner()

    response = send(runner.port, "POST", "/x")

    assert (response.status, echoed(response)) == (500, {"message": "Internal Server Error"})


def test_ten_megabytes_are_the_most(deploy: Callable[..., Any]) -> None:
    """API Gateway Developer Guide, "Quotas for HTTP API": payload size."""
    runner = deploy(ECHO, routes=("$default",)).runner()

    response = send(runner.port, "POST", "/x", b"x" * (BODY_BYTES + 1))

    assert response.status == 413


def test_connections_stay_open_and_answer_at_once(deploy: Callable[..., Any]) -> None:
    """Twenty clients with one connection each; no answer waits for a delayed acknowledgement (40 ms)."""
    runner = deploy("def handler(event, context): return {'ok': True}", routes=("$default",)).runner()

    def client(_: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", runner.port, timeout=30)
        return [timed(connection) for _ in range(10)]

    client(0)
    with ThreadPoolExecutor(20) as clients:
        times = sorted(seconds for found in clients.map(client, range(20)) for seconds in found)

    assert len(times) == 200
    assert least(lambda: statistics.median(client(0)), wanted=0.03, tries=50) <= 0.03


def timed(connection: http.client.HTTPConnection) -> float:
    start = time.perf_counter()
    connection.request("POST", "/x", b"{}", {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b'{"ok": true}')
    return time.perf_counter() - start


def test_a_control_answers_before_the_routes(deploy: Callable[..., Any]) -> None:
    """A callable can be given a path of its own; the status has one."""
    runner = deploy(ECHO, routes=("$default",)).runner()

    def control(request: Request) -> Response:
        return Response.json(202, {"got": request.body.decode()})

    runner.register("POST /_nilometer/trigger", control)

    response = send(runner.port, "POST", "/_nilometer/trigger?x=1", b"hello")
    assert (response.status, echoed(response)) == (202, {"got": "hello"})
    assert echoed(send(runner.port, "GET", "/_nilometer/status"))["idle"] is True


@pytest.mark.parametrize(
    ("key", "method", "path", "parameters"),
    [
        ("$default", "GET", "/a/b", {}),
        ("GET /a", "GET", "/a", {}),
        ("GET /a", "POST", "/a", None),
        ("ANY /a", "POST", "/a", {}),
        ("GET /a/{id}", "GET", "/a/7", {"id": "7"}),
        ("GET /a/{id}", "GET", "/a/7/8", None),
        ("GET /a/{id}", "GET", "/a/", None),
        ("ANY /{proxy+}", "GET", "/a/7/8", {"proxy": "a/7/8"}),
        ("ANY /a/{proxy+}", "GET", "/a", None),
        ("GET /", "GET", "/", {}),
    ],
)
def test_routes_match_as_in_an_http_api(key: str, method: str, path: str, parameters: dict[str, str] | None) -> None:
    """API Gateway Developer Guide, "Create routes for HTTP APIs"."""
    assert match(key, method, path) == parameters


def test_the_most_exact_route_takes_a_request(deploy: Callable[..., Any]) -> None:
    """API Gateway Developer Guide, "Create routes for HTTP APIs", routing API requests."""
    routes = (
        "$default",
        "ANY /{proxy+}",
        "GET /pets/{proxy+}",
        "GET /pets/dog/{id}",
        "ANY /pets/dog/1",
        "GET /pets/dog/1",
    )
    runner = deploy(ECHO, routes=routes).runner()

    def routed(method: str, path: str) -> str:
        return str(echoed(send(runner.port, method, path))["routeKey"])

    assert routed("GET", "/pets/dog/1") == "GET /pets/dog/1"
    assert routed("POST", "/pets/dog/1") == "ANY /pets/dog/1"
    assert routed("GET", "/pets/dog/2") == "GET /pets/dog/{id}"
    assert routed("GET", "/pets/cat/1/2") == "GET /pets/{proxy+}"
    assert routed("POST", "/test/5") == "ANY /{proxy+}"

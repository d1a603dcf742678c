"""Pages of other sites, whose browser is on this machine, reach nothing of the local stack."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nilometer.local.front.foreign import is_foreign
from nilometer.local.plane.engine import engine
from nilometer.local.sources.ingress import Ingress, Request, Response

HERE = "127.0.0.1:4566"
SIGNED = "X-Amz-Signature=0a&X-Amz-Expires=60"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"host": HERE}, ""),
        ({}, ""),
        ({"host": "localhost:4566"}, ""),
        ({"host": "lake.s3.localhost:4566"}, ""),
        ({"host": "[::1]:4566"}, ""),
        ({"host": "host.docker.internal:4566"}, ""),
        ({"host": "nilometer:4566"}, ""),
        ({"host": "s3.us-east-1.amazonaws.com"}, ""),
        ({"host": "lake.s3.amazonaws.com"}, ""),
        ({"host": HERE, "origin": "http://localhost:3000", "sec-fetch-site": "cross-site"}, ""),
        ({"host": HERE, "origin": "http://127.0.0.1:8788"}, ""),
        ({"host": HERE, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, ""),
        ({"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, SIGNED),
    ],
    ids=str,
)
def test_programs_and_pages_of_this_machine_are_answered(headers: dict[str, str], query: str) -> None:
    """Also a container's program, and a link to a signed object."""
    assert not is_foreign(headers, query)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"host": "evil.example"}, ""),
        ({"host": "evil.elb.amazonaws.com"}, ""),
        ({"host": "s3.amazonaws.com.evil.example"}, ""),
        ({"host": "evil.example:4566", "origin": "http://evil.example:4566"}, ""),
        ({"host": "127.0.0.1.evil.example"}, ""),
        ({"host": "localhost.evil.example"}, ""),
        ({"host": "["}, ""),
        ({"host": ""}, ""),
        ({"host": HERE, "origin": "https://evil.example"}, ""),
        ({"host": HERE, "origin": "https://localhost.evil.example"}, ""),
        ({"host": HERE, "origin": "null"}, ""),
        ({"host": HERE, "origin": ""}, ""),
        ({"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, ""),
        ({"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, SIGNED),
        ({"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, ""),
        ({"host": HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, f"{SIGNED}&Action=Purge"),
    ],
    ids=str,
)
def test_a_page_of_another_site_is_foreign(headers: dict[str, str], query: str) -> None:
    """By its origin, by where the request comes from, or by a name that was made to resolve to this machine."""
    assert is_foreign(headers, query)


@pytest.fixture(scope="module")
def netloc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data: Path = tmp_path_factory.mktemp("engine")
    with engine(port=0, data=data, log=data / "log") as running:
        yield running.endpoint_url.removeprefix("http://")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Origin": "https://evil.example"}),
        ("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Host": "evil.example"}),
        ("OPTIONS", "/", {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}),
        ("GET", "/", {"Origin": "https://evil.example"}),
        ("POST", "/_ministack/reset", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    ],
)
def test_the_engine_tells_another_site_nothing(netloc: str, method: str, path: str, headers: dict[str, str]) -> None:
    """Neither tables nor objects, nor that it may ask, and it resets nothing."""
    connection = http.client.HTTPConnection(netloc, timeout=30)
    connection.request(method, path, json.dumps({}).encode() if method == "POST" else None, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()

    assert answer.status == 403
    assert answer.getheader("access-control-allow-origin") is None


def test_no_page_of_another_site_invokes_a_function() -> None:
    """A function that is invoked past its queue believes what it is given; a webhook is verified and may come from
    anywhere."""
    path = "/2015-03-31/functions/Billing/invocations"
    ingress = Ingress(
        port=0, routes=[], invoke=lambda *_: None, controls={f"POST {path}": lambda _: Response.of(200, "invoked")}
    )  # type: ignore[arg-type]  # no route invokes it

    def asked(**headers: str) -> int:
        told = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return ingress.respond(Request("POST", path, told, b"{}", "127.0.0.1")).status

    assert asked(host="127.0.0.1:8787") == 200
    assert asked(host="127.0.0.1:8787", origin="https://evil.example") == 403
    assert asked(host="127.0.0.1:8787", sec_fetch_site="cross-site") == 403
    ingress.stop()

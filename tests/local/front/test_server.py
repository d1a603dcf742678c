"""The server on a real socket, as clients see it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nilometer.local.front.server import Front


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    said = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} {len(body)}".encode()
    sized = [(b"content-length", str(len(said)).encode())]
    match scope["path"]:
        case "/fails":
            raise ValueError("on purpose")
        case "/parts":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in (b"one ", b"", b"two"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body"})
        case "/none":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        case "/large":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"20000000")]})
            await send({"type": "http.response.body", "body": bytes(20_000_000)})
        case _:
            await send({"type": "http.response.start", "status": 200, "headers": sized})
            await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    loop = asyncio.new_event_loop()
    ready: threading.Event = threading.Event()
    found: list[int] = []

    async def run() -> None:
        front = Front(application, 75)
        server = await loop.create_server(front.connection, "127.0.0.1", 0)
        found.append(server.sockets[0].getsockname()[1])
        ready.set()
        while ready.is_set():  # noqa: ASYNC110  # another thread ends it
            await asyncio.sleep(0.02)
        server.close()
        await front.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    yield found[0]
    ready.clear()
    thread.join()
    loop.close()


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    yield made
    made.close()


def ask(connection: http.client.HTTPConnection, *request: Any, **more: Any) -> tuple[int, bytes]:
    connection.request(*request, **more)
    answer = connection.getresponse()
    return answer.status, answer.read()


def exchange(port: int, sent: bytes) -> bytes:
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_connection_is_used_again_for_every_kind_of_answer(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "POST", "/a%2Fb?c=%20", b"body") == (200, b"POST /a/b c=%20 4")
    assert ask(connection, "GET", "/parts") == (200, b"one two")
    assert ask(connection, "GET", "/none") == (204, b"")
    assert ask(connection, "HEAD", "/parts") == (200, b"")
    assert ask(connection, "HEAD", "/x") == (200, b"")
    connection.auto_open = 0  # another connection would be an error
    assert ask(connection, "POST", "/chunks", iter([b"ab", b"c"]), encode_chunked=True) == (200, b"POST /chunks  3")


def test_large_bodies_pass_both_ways(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "PUT", "/up", bytes(20_000_000)) == (200, b"PUT /up  20000000")
    assert len(ask(connection, "GET", "/large")[1]) == 20_000_000


def test_an_error_of_the_application_is_a_500_and_the_next_connection_works(
    connection: http.client.HTTPConnection,
) -> None:
    assert ask(connection, "GET", "/fails") == (500, b"")
    assert ask(connection, "GET", "/x")[0] == 200


def test_requests_that_come_together_are_answered_in_order(port: int) -> None:
    answer = exchange(
        port, b"GET /one HTTP/1.1\r\n\r\nGET /two HTTP/1.1\r\nconnection: close\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"
    )

    assert [line for line in answer.split(b"\r\n") if line.startswith(b"GET")] == [
        b"GET /one  0HTTP/1.1 200 OK",
        b"GET /two  0",
    ]


def test_a_body_that_waits_for_consent_gets_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"PUT /x HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"PUT /x  2")


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\na: " + b"a" * 70_000])
def test_what_is_no_request_is_refused_and_ends_the_connection(port: int, sent: bytes) -> None:
    assert exchange(port, sent).startswith(b"HTTP/1.1 400 Bad Request\r\n")

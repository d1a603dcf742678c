"""The quick handler of `http.server`, on a real socket."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from nilometer.local.front.handler import QuickHandler


class Echo(QuickHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:  # noqa: N802  # http.server's name
        body = self.rfile.read(int(self.headers.get("CONTENT-length", 0)))
        said = f"{self.path} {self.headers.get('x-Twice')} {list(self.headers.items())[-1]} {body!r}".encode()
        self.send_response_only(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_connection_is_used_again_and_names_are_found_in_any_case(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path in ("/a", "/b?c=%20"):
        connection.request("POST", path, b"body", {"X-Twice": "1", "Last": "ü"})
        said = connection.getresponse().read().decode()
        assert said == f"{path} 1 ('last', 'ü') b'body'"
        connection.auto_open = 0  # another connection would be an error
    connection.close()


def test_a_body_that_waits_for_consent_gets_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"b'ab'")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /x HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /x HTTP/1.1\r\na: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_ends_the_connection(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b'{"message":"Bad Request"}')

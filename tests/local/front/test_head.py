"""What is a request, and how long its body is."""

from __future__ import annotations

import pytest

from nilometer.local.front.body import RequestBody
from nilometer.local.front.head import CHUNKED, BadHead, parse


def test_a_head_has_its_lines_in_their_order() -> None:
    head = parse(b"POST /a%20b?c=d HTTP/1.1\r\nHost: here\r\nX-Twice:  one \r\nx-twice: two\r\nContent-Length: 3")

    assert (head.method, head.target, head.length) == ("POST", b"/a%20b?c=d", 3)
    assert head.headers[1:3] == [(b"x-twice", b"one"), (b"x-twice", b"two")]


@pytest.mark.parametrize(
    ("lines", "keeps"),
    [
        (b"GET / HTTP/1.1", True),
        (b"GET / HTTP/1.1\r\nConnection: Close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive", True),
    ],
)
def test_who_closes_the_connection(lines: bytes, keeps: bool) -> None:
    assert parse(lines).keeps_alive is keeps


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET /a b HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\n folded: line",
        b"GET / HTTP/1.1\r\nname : value",
        b"GET / HTTP/1.1\r\nname: a\nb: c",
        b"POST / HTTP/1.1\r\nContent-Length: -1",
        b"POST / HTTP/1.1\r\nContent-Length: +1",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(lines: bytes) -> None:
    with pytest.raises(BadHead):
        parse(lines)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_a_body_in_chunks_is_whole_however_it_arrives(step: int) -> None:
    sent = b"4;name=value\r\nwiki\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\nNEXT"
    body, arrived, found = RequestBody(CHUNKED), bytearray(), None
    for start in range(0, len(sent), step):
        arrived += sent[start : start + step]
        found = body.take(arrived) if found is None else found

    assert (found, bytes(arrived)) == (b"wiki\n", b"NEXT")


@pytest.mark.parametrize("sent", [b"x\r\n", b"\r\n", b"-1\r\n", b"2\r\nabcd\r\n", b"1" * 5000])
def test_chunks_that_are_none_are_refused(sent: bytes) -> None:
    with pytest.raises(BadHead):
        RequestBody(CHUNKED).take(bytearray(sent))


def test_a_body_waits_until_it_is_whole() -> None:
    body, arrived = RequestBody(3), bytearray(b"ab")

    assert body.take(arrived) is None
    arrived += b"cd"
    assert (body.take(arrived), bytes(arrived)) == (b"abc", b"d")

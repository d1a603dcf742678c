"""A file of the lake was cut: it is named, nothing is written over it, and with the file back all is there once."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.support.lake import build

from nilometer.domain.lake.tables import USAGE
from nilometer.errors import Unavailable
from nilometer.lake.read.query import query
from nilometer.lake.write.append import Appended, Lake


def append(lake: Lake, *events: str) -> Appended:
    return build.append(lake, USAGE, *map(build.usage, events), seconds=1)


def events(lake: Lake) -> list[str]:
    found = query("select event_id from usage order by 1", lake_uri=lake.uri, storage_options={})
    return [event for (event,) in found.rows]


@pytest.mark.parametrize("pattern", ["*.parquet", "_delta_log/*.json"])
def test_a_file_that_was_cut_is_named(tmp_path: Path, pattern: str) -> None:
    """A data file by its own name, a commit by its table; reading, and writing what may be in it, fail until it is
    back."""
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    for event in ("one", "two", "three"):
        append(lake, event)
    newest = max((tmp_path / "lake/usage").rglob(pattern), key=lambda path: (path.stat().st_mtime_ns, path.name))
    content = newest.read_bytes()
    os.truncate(newest, len(content) // 2)

    with pytest.raises(Unavailable, match=newest.name if newest.suffix == ".parquet" else "lake/usage cannot") as read:
        events(lake)
    with pytest.raises(Unavailable):
        append(lake, "three")
    newest.write_bytes(content)
    append(lake, "three", "four")

    assert "\n" not in str(read.value)
    assert "bring" in str(read.value)
    assert events(lake) == ["four", "one", "three", "two"]


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"PAR1" + bytes(900)])
def test_a_file_that_is_gone_or_nothing_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Whatever is left of it: the only one, which is opened first, or one of many, which is opened later."""
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    for event in ("one", "two"):
        append(lake, event)
    for victim in (tmp_path / "lake/usage").rglob("*.parquet"):
        whole = victim.read_bytes()
        victim.unlink()
        if content is not None:
            victim.write_bytes(content)

        with pytest.raises(Unavailable, match=victim.name):
            events(lake)
        victim.write_bytes(whole)


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    ("body", "said"),
    [("<Error><Code>ExpiredToken</Code></Error>", "S3 answered ExpiredToken; check cred"), ("no", "or refused")],
)
def test_a_refusal_of_s3_is_no_damage(status: int, body: str, said: str) -> None:
    """Credentials that expired, or lack a right: nobody is told to bring a file back."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        options = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        with pytest.raises(Unavailable, match=said) as refused:
            query("select event_id from usage", lake_uri="s3://bucket/lake", storage_options=options)
        server.shutdown()

    assert "bring" not in str(refused.value)

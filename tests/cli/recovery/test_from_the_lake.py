"""Everything but the lake is lost: a new stack counts on from it. The drill of docs/restore.md, on two local stacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from tests.support.command_line import CommandLine, Local

WORKSPACES = ("ws_north", "ws_south")
BEFORE = 12  # usage events of each workspace that are in the lake when the stack is lost
LATE = 3  # sent in the last moment: nobody knows whether the lake has them


def s3(about: Mapping[str, Any]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=about["aws_endpoint_url"],
        region_name=about["region"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def lake_of(about: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Each object below lake/, as `aws s3 sync` reads it: the log before the files it names would be no harm either."""
    client, bucket = s3(about), about["lake_uri"].split("/")[2]
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="lake/"):
        for one in page.get("Contents", ()):
            yield one["Key"], client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()


def put_lake(about: Mapping[str, Any], objects: Mapping[str, bytes]) -> None:
    """Into a stack in whose lake is nothing yet."""
    for key, content in objects.items():
        s3(about).put_object(Bucket=about["lake_uri"].split("/")[2], Key=key, Body=content)


@contextmanager
def stack(folder: Path) -> Iterator[tuple[CommandLine, Local]]:
    folder.mkdir()
    line = CommandLine(folder)
    running = line.local()
    try:
        yield line, running
    finally:
        assert running.stop()[0] == 0


def send(line: CommandLine, workspace: str, event_id: str) -> None:
    given = ("--workspace", workspace, "--meter", "api_calls", "--quantity", "5", "--id", event_id)
    assert line("usage", "send", *given).code == 0


def used(line: CommandLine) -> dict[str, list[str]]:
    """What each workspace has used of the one meter."""
    shown = {one: line("usage", "show", one, "--json").json["meters"] for one in WORKSPACES}
    return {one: [meter["used"] for meter in meters if meter["count"]] for one, meters in shown.items()}


def test_a_new_stack_counts_on_from_the_lake_alone(
    tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Workspaces are opened again, usage is replayed from the lake, services send their last minute again: every
    event counts once, new ones count on, and lake and counters are equal."""
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with stack(tmp_path / "lost") as (line, running):
        for workspace in WORKSPACES:
            assert line("workspace", "create", workspace).code == 0
            for number in range(BEFORE):
                send(line, workspace, f"{workspace}_{number}")
        assert line("wait").code == 0
        before = used(line)
        for number in range(LATE):
            send(line, WORKSPACES[0], f"late_{number}")
        kept = dict(lake_of(running.about))

    lost_at = time.monotonic()
    with stack(tmp_path / "again") as (line, running):
        put_lake(running.about, kept)
        found = line("query", "select distinct workspace_id from usage order by 1", "--json").lines
        for one in found:
            assert line("workspace", "create", one["workspace_id"]).code == 0
        assert line("wait").code == 0
        replayed = line("replay", "lake", "usage", "--since", since, "--yes", "--json").json
        assert line("wait").code == 0
        verified = line("verify", "counters", "--grace", "0")
        record_testsuite_property("from_the_lake_after_seconds", round(time.monotonic() - lost_at))
        for number in range(LATE):
            send(line, WORKSPACES[0], f"late_{number}")
        send(line, WORKSPACES[1], "new")
        assert line("wait").code == 0
        after, again = used(line), line("verify", "counters", "--grace", "0")

    rows = replayed["rows"]
    assert [one["workspace_id"] for one in found] == [*WORKSPACES]
    assert 2 * BEFORE <= rows <= 2 * BEFORE + LATE
    assert replayed["published"] == rows
    record_testsuite_property("events_that_the_lake_had_not", 2 * BEFORE + LATE - rows)
    assert before == {one: [str(5 * BEFORE)] for one in WORKSPACES}
    assert after == {WORKSPACES[0]: [str(5 * (BEFORE + LATE))], WORKSPACES[1]: [str(5 * (BEFORE + 1))]}
    assert (verified.code, again.code) == (0, 0), verified.out + again.out

"""What a run left behind: sizes of the facts, commits of the lake, and the metrics that its functions wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nilometer.domain.events.outcome import Outcome
from nilometer.local.demo.cost import EventKind, TableUse
from nilometer.local.plane.charges import item_bytes
from nilometer.local.stack.stack import Stack

OVERHEAD_BYTES = 100  # of an item, as DynamoDB bills storage
_KINDS = {"stripe_event": EventKind.WEBHOOK, "usage_event": EventKind.USAGE}


def fact_bytes(running: Stack) -> dict[EventKind, float]:
    """Of a stored fact at the mean, by its kind."""
    sizes: dict[EventKind, list[int]] = {}
    for page in running.client("dynamodb").get_paginator("scan").paginate(TableName=running.description.events_table):
        for item in page["Items"]:
            if kind := _KINDS.get(item.get("kind", {}).get("S", "")):
                sizes.setdefault(kind, []).append(item_bytes(item) + OVERHEAD_BYTES)
    return {kind: sum(found) / len(found) for kind, found in sizes.items()}


def tables(running: Stack) -> dict[str, TableUse]:
    """Commits, rows and files of each table of the lake, from its log; the commit that made a table has none."""
    s3, bucket = running.client("s3"), running.description.lake_bucket
    found: dict[str, list[list[int]]] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="lake/"):
        for one in page.get("Contents", ()):
            place, log, name = one["Key"].partition("/_delta_log/")
            if log and name.endswith(".json") and (rows := _rows(s3.get_object(Bucket=bucket, Key=one["Key"])["Body"])):
                found.setdefault(place, []).append(rows)
    return {
        place: TableUse(commits=len(commits), rows=sum(map(sum, commits)), files=sum(map(len, commits)))
        for place, commits in found.items()
    }


def _rows(commit: Any) -> list[int]:
    """Of each file that a commit added, by its statistics."""
    actions = (json.loads(line) for line in commit.read().splitlines())
    return [json.loads(one["add"]["stats"])["numRecords"] for one in actions if "add" in one]


def metrics(running: Stack) -> int:
    """Of our own that are written whenever events go well: different dimensions, in the logs of all functions.

    What goes wrong is written only in the hours in which it does.
    """
    logs = Path(str(running.description.logs)).glob("*.log")
    return len(
        {metric for log in logs for line in log.read_text(errors="replace").splitlines() for metric in _of(line)}
    )


def _of(line: str) -> Iterator[tuple[str, ...]]:
    if '"_aws"' not in line:
        return
    said: dict[str, Any] = json.loads(line)
    for directive in said["_aws"]["CloudWatchMetrics"]:
        for dimensions in directive["Dimensions"]:
            values = tuple(str(said[name]) for name in dimensions)
            yield from ((m["Name"], *values) for m in directive["Metrics"] if m["Name"] == Outcome.ACCEPTED)

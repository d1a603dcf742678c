"""The tables of the lake: readable by everybody, and as declared; and that nobody deletes their files by mistake."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from nilometer.cli.stack.finding import Finding, fail, ok, warn
from nilometer.cli.terminal.connection import Connection
from nilometer.lake.tables.storage import storage_options

if TYPE_CHECKING:
    from nilometer.lake.write.soundness import Soundness


KEEPING = ("staging", "prod")
"""Stages whose bucket keeps versions and denies deletes below the lake."""


def protection(connection: Connection) -> Iterator[Finding]:
    """What `aws s3 rm` could do to the lake: versions, and the policy that denies it, as the template sets them."""
    if connection.is_local:
        return
    about, s3 = connection.description, connection.client("s3")
    [stack] = connection.client("cloudformation").describe_stacks(StackName=about.stack_name)["Stacks"]
    stage = {one["ParameterKey"]: one.get("ParameterValue") for one in stack.get("Parameters", ())}.get("Stage")
    yield protected(
        stage, s3.get_bucket_versioning(Bucket=about.lake_bucket).get("Status"), _statements(s3, about.lake_bucket)
    )


def _statements(s3: Any, bucket: str) -> list[Any]:
    try:
        statements: list[Any] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchBucketPolicy":
            raise
        return []
    return statements


def protected(stage: str | None, versions: str | None, statements: list[Any]) -> Finding:
    """`versions` is the state of the bucket's versioning, `statements` are those of its policy."""
    check = "protection"
    if stage not in KEEPING:
        return ok(check, f"stage {stage} keeps no deleted files")
    lacks = [] if versions == "Enabled" else ["keeps no versions"]
    lacks += [] if any(map(_denies_deletes, statements)) else ["its policy denies no deletes below lake/"]
    if lacks:
        return fail(check, " and ".join(lacks), "Deploy the template again; it sets both.")
    return ok(check, "versions are kept, and only maintenance deletes below lake/")


def _denies_deletes(statement: Any) -> bool:
    return (
        statement["Effect"] == "Deny"
        and statement["Principal"] in ("*", {"AWS": "*"})
        and {"s3:DeleteObject", "s3:DeleteObjectVersion"} <= set(statement["Action"])
        and str(statement["Resource"]).endswith("/lake/*")
    )


def lake(connection: Connection) -> Iterator[Finding]:
    """A finding for each table of the lake."""
    from nilometer.flows.lake.maintenance import all_tables
    from nilometer.lake.write.soundness import examine

    for table in all_tables(connection.store()):
        options = storage_options({**os.environ, **connection.description.environment})
        try:
            yield verdict(examine(table, lake_uri=connection.description.lake_uri, storage_options=options))
        except (OSError, ValueError) as error:
            yield fail(_check(table.name), f"cannot be opened: {error}", "Let this identity read the bucket.")


def verdict(seen: Soundness) -> Finding:
    """What a table's log and checkpoints say of it."""
    from nilometer.lake.write.soundness import READER_VERSION

    check = _check(seen.name)
    if seen.version is None:
        return ok(check, "not written yet")
    if seen.reader_version != READER_VERSION:
        return fail(
            check,
            f"reader version {seen.reader_version}, features {', '.join(seen.features) or 'none'}",
            "Find who lifted it, in the log's history: some readers cannot open it any more.",
        )
    if seen.retyped:
        return fail(check, f"other types than declared: {', '.join(seen.retyped)}", "Rebuild it; types never change.")
    if seen.strange:
        return warn(check, f"undeclared: {', '.join(seen.strange)}", "A newer version writes here: use that one.")
    if seen.missing:
        return warn(check, f"lacks {', '.join(seen.missing)}", "Deploy this version; its next append adds them.")
    if not seen.append_only:
        return warn(check, "delta.appendOnly is not as declared", "Set it: rows must not be changed by accident.")
    return ok(check, f"version {seen.version}, reader {seen.reader_version}, writer {seen.writer_version}, as declared")


def _check(name: str) -> str:
    return f"lake {name}"

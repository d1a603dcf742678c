"""The lake as on AWS: no endpoint is set, so delta-rs makes S3's host name itself and connects to it by TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import boto3
from tests.support.lake.build import usage
from tests.support.lake.tls import GLOBAL, S3, s3_by_its_name

from nilometer.local.plane.engine import Engine

# What LakeFunction does with a batch, twice, and then maintenance and an analyst's question.
WORK = """
import json, os, sys, time
from datetime import UTC, datetime
from nilometer.aws.clients import client
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.tables import USAGE
from nilometer.lake.read.query import query
from nilometer.lake.tables.storage import storage_options
from nilometer.lake.write.append import Lake
from nilometer.lake.write.rows import decode

uri = os.environ["LAKE_URI"]
files = Objects(client("s3"), bucket=uri.split("/")[2])
lake = Lake(uri=uri, storage_options=storage_options(os.environ), files=files)
rows = decode(USAGE, sys.stdin.buffer.read())
for _ in range(2):
    lake.append(USAGE, rows, recorded_at=datetime.now(UTC), deadline=time.monotonic() + 60)
found = query("select event_id from usage order by 1", lake_uri=lake.uri, storage_options=lake.storage_options)
print(json.dumps([row[0] for row in found.rows]))
"""


def test_rows_are_written_and_read_under_the_host_name_of_s3(aws: Engine, tmp_path: Path) -> None:
    """Each once; every request went to S3's name, over TLS that was checked."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    rows: list[dict[str, Any]] = [usage(f"e{n}") for n in range(3)]
    with s3_by_its_name(aws.endpoint_url, tmp_path) as end:
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        credentials = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        trusted = {
            "HTTPS_PROXY": end.url,
            "SSL_CERT_FILE": str(end.authority),
            "AWS_CA_BUNDLE": str(end.authority),
            "LAKE_URI": f"s3://{bucket}/lake",
        }
        done = subprocess.run(
            [sys.executable, "-c", WORK],
            env={**own, **credentials, **trusted},
            input=json.dumps(rows),
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == ["e0", "e1", "e2"]
    assert {host.removeprefix(f"{bucket}.") for host in end.hosts} == {S3, GLOBAL}

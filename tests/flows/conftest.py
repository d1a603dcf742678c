"""What the tests of flows share: an empty bucket, and the bus's envelope around an event."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from nilometer.aws.s3 import Objects
from nilometer.local.engine import REGION, Engine

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def objects(aws: Engine) -> Objects:
    """An empty bucket."""
    client: Any = boto3.client(
        "s3", endpoint_url=aws.endpoint_url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    return Objects(client, bucket=bucket)


def envelope(detail: Mapping[str, Any], *, source: str = "services") -> str:
    """An SQS body as the bus makes it."""
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail["type"],
            "source": source,
            "account": "000000000000",
            "time": "2026-11-23T12:00:00Z",
            "region": REGION,
            "resources": [],
            "detail": detail,
        }
    )

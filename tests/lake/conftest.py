"""A bucket and a lake of its own for a test."""

from __future__ import annotations

import uuid
from pathlib import Path

import boto3
import pytest

from nilometer.lake.write.append import Lake
from nilometer.local.plane.engine import REGION, Engine


@pytest.fixture
def bucket(aws: Engine) -> str:
    client = boto3.client(
        "s3", endpoint_url=aws.endpoint_url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )
    name = f"lake-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """On disk, with nothing in it."""
    return Lake(uri=str(tmp_path / "lake"), storage_options={})

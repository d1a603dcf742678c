"""What the tests of flows share: an empty bucket, a workspace with meters, a lake, and where changes are sent to."""

from __future__ import annotations

import uuid

import pytest
from tests.support.flows.changes import world
from tests.support.flows.landed import landed
from tests.support.flows.usage import ready

from nilometer.aws.clients import client
from nilometer.aws.s3 import Objects
from nilometer.local.plane.engine import REGION, Engine


@pytest.fixture
def objects(aws: Engine) -> Objects:
    """An empty bucket."""
    where = {"endpoint_url": aws.endpoint_url, "region_name": REGION}
    made = client("s3", **where, aws_access_key_id="test", aws_secret_access_key="test")
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    made.create_bucket(Bucket=bucket)
    return Objects(made, bucket=bucket)


__all__ = ["landed", "objects", "ready", "world"]

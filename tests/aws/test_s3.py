"""Objects by the hash of their content."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config

from nilometer.aws.s3 import Objects
from nilometer.errors import Rejected, Unavailable
from nilometer.local.plane.engine import REGION, Engine, free_port


def s3(endpoint_url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
    )


@pytest.fixture
def objects(aws: Engine) -> Objects:
    """An empty bucket."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    s3(aws.endpoint_url).create_bucket(Bucket=bucket)
    return Objects(s3(aws.endpoint_url), bucket=bucket)


def test_content_rests_under_its_hash(objects: Objects) -> None:
    """Any bytes, and the key says which."""
    content = bytes(range(256))

    key = objects.put("claims", content)

    assert key == f"claims/{hashlib.sha256(content).hexdigest()}"
    assert objects.get(key) == content


def test_storing_twice_is_storing_once(objects: Objects, aws: Engine) -> None:
    """A delivery again leaves one object."""
    keys = {objects.put("claims", b"the same") for _ in range(3)}

    listed = s3(aws.endpoint_url).list_objects_v2(Bucket=objects.bucket)
    assert {found["Key"] for found in listed["Contents"]} == keys
    assert len(keys) == 1


def test_a_missing_claim_is_broken_for_good(objects: Objects) -> None:
    """Asking again cannot bring it back, so it is no Unavailable."""
    with pytest.raises(Rejected) as caught:
        objects.get("claims/" + "0" * 64)

    assert caught.value.reason == "claim_broken"


def test_changed_content_is_not_believed(objects: Objects, aws: Engine) -> None:
    """The key is a promise about the content."""
    key = objects.put("claims", b"as it was signed")
    s3(aws.endpoint_url).put_object(Bucket=objects.bucket, Key=key, Body=b"as somebody likes it")

    with pytest.raises(Rejected) as caught:
        objects.get(key)

    assert caught.value.reason == "claim_broken"


def test_who_creates_second_changes_nothing(objects: Objects) -> None:
    """Where nothing is there is nothing to read; and what is there stays as it was."""
    uri = f"s3://{objects.bucket}/lake/log/1.json"
    assert objects.read(uri) is None

    assert [objects.create(uri, content) for content in (b"first", b"second")] == [True, False]
    assert objects.read(uri) == b"first"


def test_folders_are_what_is_right_below(objects: Objects) -> None:
    """Not what is further down, nor objects."""
    for key in ("lake/datasets/a/x/y", "lake/datasets/b/x", "lake/datasets/c", "lake/other/x"):
        objects._client.put_object(Bucket=objects.bucket, Key=key, Body=b"")

    assert (objects.folders("lake/datasets/"), objects.folders("nothing/")) == (["a", "b"], [])


def test_a_bucket_that_does_not_answer_is_unavailable() -> None:
    """Every way."""
    away = Objects(s3(f"http://127.0.0.1:{free_port()}"), bucket="bucket")

    with pytest.raises(Unavailable):
        away.put("claims", b"content")
    with pytest.raises(Unavailable):
        away.create("s3://bucket/key", b"content")
    with pytest.raises(Unavailable):
        away.read("s3://bucket/key")
    with pytest.raises(Unavailable):
        away.get("claims/" + "0" * 64)

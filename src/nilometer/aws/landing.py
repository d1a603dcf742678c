"""The landing prefix: objects that internal services put there, read only as they were announced."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "landing/"
OBJECT_BYTES = 64_000_000
"""Of one object: what the function can hold as rows and as Arrow at once."""


class Landing:
    """The prefix in one bucket."""

    def __init__(self, client: S3Client, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, content: bytes) -> str:
        """Stores an object and returns its ETag, which pins it."""
        try:
            return self._client.put_object(Bucket=self._bucket, Key=key, Body=content)["ETag"].strip('"')
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"S3 did not take {key}: {error}") from error

    def get(self, key: str, *, etag: str, sha256: str | None = None, size: int | None = None) -> bytes:
        """The content that had this ETag. `Rejected`: `object_missing`, `object_changed` or `too_large`."""
        content = self._read(key, etag)
        if (size is not None and len(content) != size) or (sha256 and hashlib.sha256(content).hexdigest() != sha256):
            raise Rejected("object_changed", f"{key} is not of the announced size or SHA-256; announce it again")
        return content

    def _read(self, key: str, etag: str) -> bytes:
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=f'"{etag}"')
            if found["ContentLength"] > OBJECT_BYTES:
                raise Rejected("too_large", f"{key} has {found['ContentLength']} bytes; split it below {OBJECT_BYTES}")
            return found["Body"].read()
        except self._client.exceptions.NoSuchKey as error:
            raise Rejected("object_missing", f"{key} does not exist; write it before it is announced") from error
        except ClientError as error:
            if error.response["Error"]["Code"] == "PreconditionFailed":
                raise Rejected(
                    "object_changed", f"{key} has another ETag by now; give each batch a key of its own"
                ) from error
            raise Unavailable(f"S3 did not give {key}: {error}") from error
        except BotoCoreError as error:
            raise Unavailable(f"S3 did not give {key}: {error}") from error

"""Objects by the hash of their content: claim checks for what is too large to travel, and kept rejects."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 8  # requests; boto3 keeps ten connections
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}


class Objects:
    """One bucket. Writing the same content twice is writing it once."""

    def __init__(self, client: S3Client, *, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def put(self, prefix: str, content: bytes) -> str:
        """Stores `content` as `prefix/sha256` and returns that key."""
        key = f"{prefix}/{hashlib.sha256(content).hexdigest()}"
        self.write(f"s3://{self.bucket}/{key}", content)
        return key

    def write(self, uri: str, content: bytes) -> None:
        """Stores `content` as `uri`, `s3://bucket/key` of this bucket, in one request; it replaces what is there."""
        key = uri.removeprefix(f"s3://{self.bucket}/")
        try:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=content)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"S3 did not take {key}: {error}") from error

    def create(self, uri: str, content: bytes) -> bool:
        """As `write`, where nothing is. False: something is, or another write of it is on its way."""
        key = uri.removeprefix(f"s3://{self.bucket}/")
        try:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=content, IfNoneMatch="*")
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _TAKEN:
                return False
            raise Unavailable(f"S3 did not take {key}: {error}") from error
        return True

    def read(self, uri: str) -> bytes | None:
        """The content of `uri`, `s3://bucket/key` of this bucket or the key alone; None when there is none."""
        key = uri.removeprefix(f"s3://{self.bucket}/")
        try:
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"S3 did not give {key}: {error}") from error

    def read_all(self, uris: Sequence[str]) -> list[bytes | None]:
        """As `read`, of some at once."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self.read, uris))

    def folders(self, prefix: str) -> list[str]:
        """Names right below `prefix`, which ends in `/`, that have something below them."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        try:
            found = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", ())]
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"S3 did not list {prefix}: {error}") from error
        return [name.removeprefix(prefix).rstrip("/") for name in found]

    def get(self, key: str) -> bytes:
        """`Rejected("claim_broken")` when the content is gone or is not what the key's hash says."""
        uri = f"s3://{self.bucket}/{key}"
        if (content := self.read(uri)) is None:
            raise Rejected("claim_broken", f"{uri} does not exist")
        if hashlib.sha256(content).hexdigest() != key.rpartition("/")[2]:
            raise Rejected("claim_broken", f"{uri} does not match its hash")
        return content

    def size(self, key: str) -> int | None:
        """In bytes; `None` when there is no such object: S3 forbids it to who may not list the bucket."""
        try:
            return int(self._client.head_object(Bucket=self.bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] in {"403", "404"}:
                return None
            raise Unavailable(f"S3 did not answer for {key}: {error}") from error
        except BotoCoreError as error:
            raise Unavailable(f"S3 did not answer for {key}: {error}") from error

    def upload_url(self, key: str, *, size: int, content_type: str, seconds: int) -> tuple[str, dict[str, str]]:
        """Where to PUT a content, and the headers that the signature binds: its size, type and hash (the key's own).

        S3 refuses what has other headers, and a body that is not what they say.
        """
        sha256 = b64encode(bytes.fromhex(key.rpartition("/")[2])).decode()
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ContentLength": size,
                "ContentType": content_type,
                "ChecksumSHA256": sha256,
            },
            ExpiresIn=seconds,
        )
        headers = {"Content-Length": str(size), "Content-Type": content_type, "x-amz-checksum-sha256": sha256}
        return url, headers

    def download_url(self, key: str, *, content_type: str, seconds: int) -> str:
        """Where to GET the content, as a file: a browser saves it and shows nothing of it on S3's origin."""
        given = {"ResponseContentType": content_type, "ResponseContentDisposition": "attachment"}
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key, **given}, ExpiresIn=seconds
        )

    def listed(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Keys below `prefix` in their order, and when each was written."""
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                yield from ((found["Key"], found["LastModified"]) for found in page.get("Contents", ()))
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"S3 did not list {prefix}: {error}") from error

    def below(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Keys in their order, with contents; what was deleted meanwhile is left out."""
        for key, _ in self.listed(prefix):
            if (content := self.read(key)) is not None:
                yield key, content

    def delete(self, key: str) -> None:
        """An object that does not exist is no error."""
        try:
            self._client.delete_object(Bucket=self.bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"S3 did not delete {key}: {error}") from error

"""S3 in memory under the clients that `aws.s3.Objects` and `aws.landing.Landing` call."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from tests.support.simulation.kernel.world import SimRequest, World


class SimNoSuchKey(ClientError):
    """boto3 makes this class for each client."""


class _Exceptions:
    NoSuchKey = SimNoSuchKey


class SimS3:
    """One bucket. Reads and writes are consistent, as S3's are; answers may be lost."""

    exceptions = _Exceptions

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: dict[str, bytes] = {}
        self.digest = 0

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        def perform(trouble: str) -> dict[str, Any]:
            if trouble == "refused":
                raise _s3_error("SlowDown")
            self.digest ^= hash((Key, self.kept.get(Key))) ^ hash((Key, Body))
            self.kept[Key] = Body
            if trouble == "lost":
                raise _s3_error("InternalError")
            return {"ETag": f'"{_etag(Body)}"'}

        return self._request("put", f"puts {Key[:40]}", ("refused", "dies", "lost"), perform)

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:  # noqa: N803
        def perform(trouble: str) -> dict[str, Any]:
            if trouble == "refused":
                raise _s3_error("SlowDown")
            if Key not in self.kept:
                raise SimNoSuchKey({"Error": {"Code": "NoSuchKey"}}, "GetObject")
            body = self.kept[Key]
            if IfMatch is not None and IfMatch.strip('"') != _etag(body):
                raise _s3_error("PreconditionFailed")
            return {"Body": io.BytesIO(body), "ContentLength": len(body)}

        return self._request("fetch", f"fetches {Key[:40]}", ("refused", "dies"), perform)

    def _request(
        self, operation: str, said: str, troubles: tuple[str, ...], perform: Callable[[str], dict[str, Any]]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self.world.request(
            SimRequest(operation, troubles, lambda: said), perform, lambda found: str(found.get("ETag", "found"))
        )
        return answer


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _s3_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "simulated")

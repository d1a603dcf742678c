"""Large request bodies, encoded by us.

botocore's JSON serializer walks its service model value by value and its endpoint rules search all actions: together
half of the CPU of a transaction of a hundred items (`benchmarks/usage.py`). A DynamoDB request is the JSON of the very
structure that the caller hands in, so it is encoded in one go and put in the place of botocore's body by its
`before-call` event; signing, retries and parsing stay botocore's.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")
_OPERATIONS = ("TransactWriteItems", "BatchWriteItem", "BatchGetItem")
_waiting = threading.local()


def install(client: Any) -> None:
    """Once a client, however often it is called."""
    for operation in _OPERATIONS:
        client.meta.events.register(f"before-call.dynamodb.{operation}", _replace, unique_id=f"encoding-{operation}")


def call(method: Callable[..., _T], request: Mapping[str, Any], sample: Mapping[str, Any]) -> _T:
    """Calls `method` with `sample`, a small valid request of the same kind, and sends `request` in its place."""
    _waiting.body = json.dumps(request, default=_binary, separators=(",", ":")).encode()
    try:
        return method(**sample)
    finally:
        _waiting.body = None


def _replace(params: dict[str, Any], **_: Any) -> None:
    body = getattr(_waiting, "body", None)
    if body is not None:
        params["body"] = body


def _binary(value: Any) -> str:
    """The wire has base64 text; boto3's callers hand over bytes."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be sent to DynamoDB")

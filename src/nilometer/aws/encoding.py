"""Bodies of DynamoDB's requests and responses, encoded and decoded by us.

botocore's JSON serializer and parser walk their service model value by value and its endpoint rules search all actions:
together half of the CPU of a transaction of a hundred items (`benchmarks/usage.py`). A request is the JSON of the very
structure that the caller hands in, so it is encoded in one go and put in the place of botocore's body by its
`before-call` event. A response is the JSON of the structure that the caller reads, so `before-parse` decodes it in one
go; binary values stay base64 text, which `items.unmarshal` reads. Signing, retries and errors stay botocore's, and so
does every call that does not come through here.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")
_ENCODED = ("TransactWriteItems", "BatchWriteItem", "BatchGetItem", "PutItem")
_DECODED = (*_ENCODED, "GetItem", "Query", "Scan")
_waiting = threading.local()


def install(client: Any) -> None:
    """Once a client, however often it is called."""
    for operation in _ENCODED:
        client.meta.events.register(f"before-call.dynamodb.{operation}", _replace, unique_id=f"encoding-{operation}")
    for operation in _DECODED:
        client.meta.events.register(f"before-parse.dynamodb.{operation}", _decode, unique_id=f"decoding-{operation}")


def call(method: Callable[..., _T], request: Mapping[str, Any], sample: Mapping[str, Any]) -> _T:
    """Calls `method` with `sample`, a small valid request of the same kind, and sends `request` in its place."""
    _waiting.body = _json(request)
    try:
        return method(**sample)
    finally:
        _waiting.body = None


def decoding(method: Callable[..., _T], request: Mapping[str, Any]) -> _T:
    """Calls `method`; binary values of its response are base64 text, also those that are left unprocessed, which
    may be sent again as they are."""
    _waiting.decodes = True
    try:
        return method(**request)
    finally:
        _waiting.decodes = False


def _replace(params: dict[str, Any], **_: Any) -> None:
    body = getattr(_waiting, "body", None)
    if body is not None:
        params["body"] = body


def _decode(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Errors are left to botocore, and so is what is no JSON."""
    if response_dict["status_code"] == 200 and getattr(_waiting, "decodes", False):
        try:
            customized_response_dict.update(msgspec.json.decode(response_dict["body"], type=dict[str, Any]))
        except msgspec.MsgspecError:
            return
        response_dict["body"] = b"{}"


def _json(request: Mapping[str, Any]) -> bytes:
    """Bytes as base64 text. Half of a surrogate pair has no UTF-8; DynamoDB is asked for its own answer to that."""
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError:
        return json.dumps(request, default=_binary, separators=(",", ":")).encode()


def _binary(value: Any) -> str:
    """The wire has base64 text; boto3's callers hand over bytes."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be sent to DynamoDB")

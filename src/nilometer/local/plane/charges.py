"""What AWS bills a request as, read off the wire: whose it is, on what, and how much of it.

Sources: the DynamoDB Developer Guide, "DynamoDB read and write operations" and "DynamoDB item sizes and formats"; the
pricing pages of SQS and EventBridge, which bill each started 64 KB.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK_BYTES = 64 * 1024
TOGETHER = 10  # messages in one request of SQS
DELIVERED = "Delivered"
"""No request: messages that were received for the first time, so somebody has sent them."""
EMPTY = "ReceiveMessage (empty)"
WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
READS = frozenset({"GetItem", "BatchGetItem", "Query", "Scan", "TransactGetItems"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """`items` are messages or events; `billed` is what a price counts: DynamoDB's units, chunks, else requests."""

    caller: str
    service: str
    operation: str
    resource: str = ""
    items: int = 0
    billed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request to AWS and its answer; the names of `headers` are in lower case."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]
    body: bytes
    answer: bytes = b""

    @property
    def caller(self) -> str:
        """The application id that the SDK puts into its user agent; the runner names each function so."""
        found = re.search(r"\bapp/(\S+)", self.headers.get("user-agent") or "")
        return found[1] if found else ""

    @property
    def service(self) -> str:
        """As in the scope of the signature: `Credential=KEY/DATE/REGION/SERVICE/aws4_request`."""
        found = re.search(r"Credential=[^/]*/[^/]*/[^/]*/([^/]*)/", self.headers.get("authorization") or "")
        return found[1] if found else ""

    @property
    def operation(self) -> str:
        """As in the header `X-Amz-Target` of DynamoDB, SQS and EventBridge; empty for S3."""
        return (self.headers.get("x-amz-target") or "").rpartition(".")[2]

    @property
    def asks_for_units(self) -> bool:
        """Whether DynamoDB's answer can say how many capacity units the request consumed."""
        return self.service == "dynamodb" and self.operation in WRITES | READS

    def asking_for_units(self) -> Exchange:
        """The same request; its answer says what it consumed."""
        return replace(self, body=json.dumps({**json.loads(self.body), "ReturnConsumedCapacity": "TOTAL"}).encode())


def charges(exchange: Exchange) -> Iterator[Charge]:
    """What AWS would bill for the request, from its body and its answer: one charge, or one for each resource."""
    charge = Charge(caller=exchange.caller, service=exchange.service, operation=exchange.operation)
    match exchange.service, exchange.operation:
        case "dynamodb", operation if operation in WRITES | READS:
            yield replace(charge, billed=_units(exchange))
        case "events", "PutEvents":
            yield from _published(charge, json.loads(exchange.body)["Entries"])
        case "sqs", operation:
            yield from _queued(replace(charge, resource=_queue(exchange)), operation, exchange)
        case "s3", _:
            yield _object(charge, exchange)
        case _:
            yield charge


def item_bytes(item: Mapping[str, Any]) -> int:
    """Of an item on the wire, as DynamoDB counts: names and values."""
    return sum(len(name.encode()) + _bytes(value) for name, value in item.items())


def _bytes(attribute: Mapping[str, Any]) -> int:
    [(kind, value)] = attribute.items()
    match kind:
        case "S" | "B":
            return len(value.encode() if isinstance(value, str) else value)
        case "N":
            return (len(value.lstrip("-")) + 1) // 2 + 1
        case "SS":
            return sum(len(one.encode()) for one in value)
        case "L":
            return 3 + sum(1 + _bytes(one) for one in value)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _bytes(one) for name, one in value.items())
        case _:
            return 1


def _units(exchange: Exchange) -> float:
    """As the answer says; what was refused by a condition is billed too, and no answer says how much."""
    used = json.loads(exchange.answer or b"{}").get("ConsumedCapacity")
    if used is None:
        return _refused_units(json.loads(exchange.body)) if exchange.operation in WRITES else 0.0
    return float(sum(one["CapacityUnits"] for one in (used if isinstance(used, list) else [used])))


def _refused_units(request: Mapping[str, Any]) -> float:
    """An update's item is not in its request: it is taken for one below 1 KB."""
    actions = [action for one in request.get("TransactItems", ()) for action in one.values()]
    if not actions:
        return _kilobytes(request)
    return 2 * sum(_kilobytes(action) for action in actions)


def _kilobytes(action: Mapping[str, Any]) -> float:
    return max(1, math.ceil(item_bytes(action.get("Item", {})) / 1024))


def _published(charge: Charge, entries: list[Mapping[str, Any]]) -> Iterator[Charge]:
    for entry in entries:
        size = sum(len(entry[name].encode()) for name in ("Source", "DetailType", "Detail"))
        yield replace(charge, resource=entry["DetailType"], items=1, billed=_chunks(size))


def _queued(charge: Charge, operation: str, exchange: Exchange) -> Iterator[Charge]:
    if operation != "ReceiveMessage":
        yield replace(charge, billed=_chunks(len(exchange.body)) if operation.startswith("Send") else _tens(exchange))
        return
    messages = json.loads(exchange.answer or b"{}").get("Messages") or []
    sizes = [len(message["Body"].encode()) for message in messages]
    billed = sum(_chunks(sum(sizes[at : at + TOGETHER])) for at in range(0, len(sizes) or 1, TOGETHER))
    yield replace(charge, operation=operation if messages else EMPTY, items=len(messages), billed=billed)
    first = [s for s, m in zip(sizes, messages, strict=True) if m["Attributes"]["ApproximateReceiveCount"] == "1"]
    if first:
        yield replace(charge, operation=DELIVERED, items=len(first), billed=sum(map(_chunks, first)))


def _tens(exchange: Exchange) -> int:
    """Requests of SQS: our pollers say in one what Lambda's say in several."""
    return max(1, math.ceil(len(json.loads(exchange.body or b"{}").get("Entries") or ()) / TOGETHER))


def _queue(exchange: Exchange) -> str:
    return str(json.loads(exchange.body or b"{}").get("QueueUrl", "")).rpartition("/")[2]


def _object(charge: Charge, exchange: Exchange) -> Charge:
    """The resource is the first two parts of a key: `lake/usage`."""
    url = urlsplit(exchange.target)
    key = unquote(url.path).lstrip("/").partition("/")[2]
    listed = exchange.method == "GET" and not key
    prefix = key or parse_qs(url.query).get("prefix", [""])[0]
    return replace(charge, operation="LIST" if listed else exchange.method, resource="/".join(prefix.split("/")[:2]))


def _chunks(size: int) -> int:
    return max(1, math.ceil(size / CHUNK_BYTES))

"""SQS of MiniStack for a poller that takes hundreds of messages at a time, and for who counts those of every queue.

Each request looks at every message of its queue, several times. Lambda's pollers ask for ten messages, as SQS demands,
but many of them at once; one request that names `MORE` stands for them here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from ministack.services import sqs  # type: ignore[import-untyped]  # it has no types

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

MORE = "NilometerMore"
"""In a request: how many messages at most, or which queues. Without it everything is as SQS does it."""
COUNTS = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
ANSWER_BYTES = 1024 * 1024  # of the bodies in one answer; a larger message comes alone

Message = dict[str, Any]
_Request = dict[str, Any]


def use() -> None:
    """From now on requests that name `MORE` are answered here."""
    receive, delete = sqs._HANDLERS["ReceiveMessage"], sqs._HANDLERS["DeleteMessageBatch"]
    sqs._HANDLERS["GetQueueAttributes"] = _counting(sqs._HANDLERS["GetQueueAttributes"])
    sqs._HANDLERS["ReceiveMessage"] = _receiving(receive)
    sqs._HANDLERS["DeleteMessageBatch"] = _deleting(delete)


def _counting(describe: Callable[[_Request, str], _Request]) -> Callable[[_Request, str], _Request]:
    def counting(data: _Request, url: str) -> _Request:
        if MORE not in data:
            return describe(data, url)
        names = {"AttributeNames": COUNTS}
        return {"Queues": {one: describe({"QueueUrl": one, **names}, one)["Attributes"] for one in data[MORE]}}

    return counting


def _receiving(receive: Callable[[_Request, str], Awaitable[_Request]]) -> Callable[[_Request, str], Any]:
    def receiving(data: _Request, url: str) -> Any:
        queue = sqs._get_q(data.get("QueueUrl", url), "sqs:ReceiveMessage")
        if MORE not in data or queue["is_fifo"]:
            return receive(data, url)
        sqs._expire_retained(queue)
        sqs._dlq_sweep(queue)
        taken = sqs._collect_msgs(queue, _fitting(queue["messages"], int(data[MORE])), _visibility(queue, data))
        return {"Messages": [_received(message, data) for message in taken]} if taken else {}

    return receiving


def _fitting(messages: Sequence[Message], most: int) -> int:
    """How many of the visible ones, from the first on, an answer takes: one at least."""
    now, size, count = time.time(), 0, 0
    for message in messages:
        if message.get("visible_at", 0.0) > now:
            continue
        size += len(message["body"])
        if count == most or (count and size > ANSWER_BYTES):
            break
        count += 1
    return max(1, count)


def _visibility(queue: Mapping[str, Any], data: _Request) -> int:
    asked = data.get("VisibilityTimeout")
    return int(asked if asked is not None else queue["attributes"].get("VisibilityTimeout", "30"))


def _received(message: Message, data: _Request) -> Message:
    found: Message = {
        "MessageId": message["id"],
        "ReceiptHandle": message["receipt_handle"],
        "MD5OfBody": message["md5_body"],
        "Body": message["body"],
    }
    if system := sqs._build_sys_attrs(message, data.get("MessageSystemAttributeNames") or []):
        found["Attributes"] = system
    if own := sqs._filter_msg_attrs(message["message_attributes"], data.get("MessageAttributeNames") or []):
        found |= {"MessageAttributes": own, "MD5OfMessageAttributes": sqs._md5_msg_attrs(own)}
    return found


def _deleting(delete: Callable[[_Request, str], _Request]) -> Callable[[_Request, str], _Request]:
    def deleting(data: _Request, url: str) -> _Request:
        if MORE not in data:
            return delete(data, url)
        queue = sqs._get_q(data.get("QueueUrl", url), "sqs:DeleteMessage")
        wanted = {entry["ReceiptHandle"]: entry["Id"] for entry in data["Entries"]}
        gone = {message["receipt_handle"] for message in queue["messages"]} & wanted.keys()
        queue["messages"] = [message for message in queue["messages"] if message["receipt_handle"] not in gone]
        done = [{"Id": wanted[handle]} for handle in gone]
        return {"Successful": done, "Failed": list(_invalid(wanted, gone))}

    return deleting


def _invalid(wanted: Mapping[str, str], gone: set[str]) -> Iterator[dict[str, Any]]:
    for handle in wanted.keys() - gone:
        message = "The input receipt handle is invalid."
        yield {"Id": wanted[handle], "Code": "ReceiptHandleIsInvalid", "Message": message, "SenderFault": True}

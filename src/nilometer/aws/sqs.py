"""Sending messages to a queue: every message accepted, or `Unavailable`, or `Rejected` for what SQS never takes."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.domain.events.carried import carried
from nilometer.domain.store.together import together
from nilometer.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MESSAGE_BYTES = 1_000_000  # SQS takes 1 MiB a message and a batch; a margin below it
MESSAGES = 10  # in one SendMessageBatch
_CONTENTS = "InvalidMessageContents"  # what is wrong for good; other faults of a sender are rights and keys


class Queue:
    """One queue by its URL. `requests` counts the calls of `SendMessageBatch`."""

    def __init__(self, client: SQSClient, *, url: str) -> None:
        self._client = client
        self._url = url
        self.requests = 0

    def send(
        self,
        bodies: Sequence[str],
        *,
        attempts: int = 4,
        attributes: Mapping[str, str] | None = None,
        group: str = "",
    ) -> None:
        """Returns only when SQS has taken every body, which is JSON. Retries the failed alone; at least once.

        `Rejected("refused_by_queue")` when SQS never takes the text of one of them; the others may have been taken.
        Each message carries the `attributes`, which are texts. A `group` with a backlog does not delay others.
        Source: SQS Developer Guide, "Amazon SQS fair queues".
        """
        more = {
            **({"MessageAttributes": _typed(attributes)} if attributes else {}),
            **({"MessageGroupId": _group(group)} if group else {}),
        }
        for batch in _batches(list(map(carried, bodies))):
            self._send(dict(enumerate(batch)), attempts, more)

    def _send(self, pending: dict[int, str], attempts: int, more: Mapping[str, Any]) -> None:
        for attempt in range(attempts):
            if attempt:
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
            pending = self._put(pending, more)
            if not pending:
                return
        raise Unavailable(f"SQS did not take {len(pending)} messages; send them again")

    def _put(self, bodies: dict[int, str], more: Mapping[str, Any]) -> dict[int, str]:
        entries: list[Any] = [{"Id": str(index), "MessageBody": body, **more} for index, body in bodies.items()]
        self.requests += 1
        try:
            response = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and _is_of_contents(error.response["Error"].get("Code", "")):
                raise _refused() from error
            raise Unavailable(f"SQS did not answer: {error}") from error
        failed = response.get("Failed", ())
        if any(_is_of_contents(one.get("Code", "")) for one in failed):
            raise _refused()
        return {int(one["Id"]): bodies[int(one["Id"])] for one in failed}


COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


def waiting(client: SQSClient, url: str) -> dict[str, int]:
    """About how many messages a queue holds: visible, in flight, delayed."""
    names: list[Any] = list(COUNTS.values())
    try:
        found: Mapping[Any, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(f"SQS did not answer: {error}") from error
    return {name: int(found.get(attribute, 0)) for name, attribute in COUNTS.items()}


def _is_of_contents(code: str) -> bool:
    """`AWS.SimpleQueueService.` may stand before it."""
    return code.rpartition(".")[2] == _CONTENTS


def _refused() -> Rejected:
    return Rejected("refused_by_queue", "SQS takes no message with these characters; sending it again changes nothing")


def _group(name: str) -> str:
    """SQS takes 128 characters of ASCII."""
    return hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()


def _typed(attributes: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def _batches(bodies: Sequence[str]) -> Iterator[list[str]]:
    """As many as one request takes."""
    return together(bodies, lambda body: len(body.encode()), most=MESSAGES, most_bytes=MESSAGE_BYTES)

"""Looking into a dead-letter queue, sending letters back to where they came from, and deleting them.

SQS's own StartMessageMoveTask has no filter and moves all messages to one queue; what is received,
sent and deleted here is what was meant. What if the process dies between? A letter that was sent and not deleted is
there twice, and the flow drops the second; one that was only received is visible again after `HIDDEN_SECONDS`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from nilometer.aws.sqs import MESSAGES, Queue
from nilometer.domain.recovery.dead_letter import DeadLetter, dead_letter
from nilometer.domain.recovery.redrive import TRIES, tries
from nilometer.errors import Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

ALIAS = "live"
"""Of every function of the template."""

HIDDEN_SECONDS = 120
_WAIT_SECONDS = 1  # a long poll asks all of SQS's servers, a short one some


def places(text: str) -> Iterator[tuple[str, str, str | None]]:
    """Of each dead-letter queue that `text` names: its name in the template, its URL, and that of its source, if any.

    `text` is the URL of a queue, and `name,queue` or `name,queue,queue of its source` for each, separated by spaces:
    URLs differ in their last part alone, and the variables of a function have 4 KB together.
    """
    url, *named = text.split()
    above = url.rpartition("/")[0]
    for one in named:
        name, queue, *source = one.split(",")
        yield name, f"{above}/{queue}", next((f"{above}/{of}" for of in source), None)


class DeadLetterQueue:
    """One dead-letter queue. `source_url` is the queue in which its letters failed, after `allowed` deliveries; none
    where no queue redrives."""

    def __init__(
        self, client: SQSClient, *, name: str, url: str, source_url: str | None, allowed: int | None = None
    ) -> None:
        self._client = client
        self._url = url
        self._allowed = allowed
        self._handles: dict[str, str] = {}  # of what is hidden now
        self.name = name
        self.source_url = source_url

    @property
    def is_movable(self) -> bool:
        """Whether its letters can be sent back to where they failed."""
        return self.source_url is not None

    @contextlib.contextmanager
    def opened(self) -> Iterator[Iterator[list[DeadLetter]]]:
        """Each letter once, at most ten together. What was not deleted is visible again at the end."""
        try:
            yield self._batches()
        finally:
            self._give_back()

    def send_back(self, letters: Sequence[DeadLetter]) -> None:
        """To the source, then deletes them here. `Refused` where there is no source."""
        self._send_back(letters, {})

    def try_again(self, letter: DeadLetter) -> None:
        """As `send_back`; the message carries how often that was done by itself."""
        self._send_back([letter], {TRIES: str(tries(letter) + 1)})

    def _send_back(self, letters: Sequence[DeadLetter], attributes: Mapping[str, str]) -> None:
        if self.source_url is None:
            raise Refused(f"{self.name} has no queue: invoke its function once, then purge the letter")
        Queue(self._client, url=self.source_url).send([letter.body for letter in letters], attributes=attributes)
        self.delete(letters)

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """For good. `Unavailable` when SQS kept one: it is visible again soon."""
        if not letters:
            return
        entries = [{"Id": str(n), "ReceiptHandle": self._handles[one.id]} for n, one in enumerate(letters)]
        answer = self._call(self._client.delete_message_batch, Entries=entries)
        kept = {int(failed["Id"]) for failed in answer.get("Failed", ())}
        for number, letter in enumerate(letters):
            if number not in kept:
                del self._handles[letter.id]
        if kept:
            raise Unavailable(f"SQS kept {len(kept)} of the letters of {self.name}; do it again")

    def _batches(self) -> Iterator[list[DeadLetter]]:
        """Until a receive brings nothing new: what is hidden for too long comes a second time."""
        seen: set[str] = set()
        while letters := [letter for letter in self._receive() if letter.id not in seen]:
            seen.update(letter.id for letter in letters)
            yield letters

    def _receive(self) -> list[DeadLetter]:
        answer = self._call(
            self._client.receive_message,
            MaxNumberOfMessages=MESSAGES,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        self._handles |= {message["MessageId"]: message["ReceiptHandle"] for message in messages}
        return [self._letter(message) for message in messages]

    def _letter(self, message: Any) -> DeadLetter:
        attributes = {
            n: v["StringValue"] for n, v in message.get("MessageAttributes", {}).items() if "StringValue" in v
        }
        return dead_letter(
            self.name,
            message["MessageId"],
            message["Body"],
            system=message["Attributes"],
            attributes=attributes,
            allowed=self._allowed,
        )

    def _give_back(self) -> None:
        """As well as it goes: what is not given back now is visible again soon."""
        handles, self._handles = list(self._handles.values()), {}
        for start in range(0, len(handles), MESSAGES):
            entries = [
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for n, handle in enumerate(handles[start : start + MESSAGES])
            ]
            with contextlib.suppress(Unavailable):
                self._call(self._client.change_message_visibility_batch, Entries=entries)

    def _call(self, call: Callable[..., Any], **request: Any) -> Any:
        try:
            return call(QueueUrl=self._url, **request)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"SQS did not answer: {error}") from error


def invoke(client: LambdaClient, function_arn: str, payload: str) -> None:
    """Gives a function a batch of records once more. `Unavailable` unless it took all of them.

    By the alias that every caller has, also where Lambda names none in what it gave up: roles allow no other.
    """
    _, _, named = function_arn.partition(":function:")
    name, _, alias = named.partition(":")
    if alias in {"", "$LATEST"}:
        alias = ALIAS
    try:
        answer: Mapping[str, Any] = client.invoke(FunctionName=name, Qualifier=alias, Payload=payload.encode())
        content = json.loads(answer["Payload"].read())
    except (ClientError, BotoCoreError, ValueError) as error:
        raise Unavailable(f"Lambda did not answer for {function_arn}: {type(error).__name__}") from error
    if answer.get("FunctionError") or (content and content.get("batchItemFailures")):
        raise Unavailable(f"{function_arn} failed again; its log says why, and the batch stays")

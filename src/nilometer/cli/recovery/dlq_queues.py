"""The dead-letter queues of a stack, and what the functions that read their sources logged of the failures."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from nilometer.aws import logs
from nilometer.aws.dead_letters import DeadLetterQueue, invoke
from nilometer.cli.terminal.connection import Connection
from nilometer.cli.terminal.output import note
from nilometer.domain.recovery.dead_letter import DeadLetter, Failures, logged_failures
from nilometer.errors import Unavailable
from nilometer.flows.recovery.dead_letters import LetterBox, stream_batches

_DEAD_LETTERS = "DeadLetters"  # how the template calls such queues
_FAILED = '{ ($.message = "*.failed") || ($.message = "*.waiting") }'  # the lines of `nilometer.lambdas`


def dead_letter_queues(connection: Connection, only: str | None = None) -> list[DeadLetterQueue]:
    """The dead-letter queues of the stack, with the queues that redrive to them."""
    sqs, urls = connection.client("sqs"), connection.queues()
    names = [name for name in sorted(urls) if name.endswith(_DEAD_LETTERS)]
    if only is not None and only not in names:
        raise click.UsageError(f"there is no queue {only}; one of {', '.join(names)}")
    sources = {arn: source for name in urls if name not in names for arn, source in _redrives(sqs, urls[name])}
    return [_dead_letters(sqs, name, urls[name], sources) for name in names if only in {None, name}]


def _dead_letters(sqs: Any, name: str, url: str, sources: Mapping[str, tuple[str, int | None]]) -> DeadLetterQueue:
    source_url, allowed = sources.get(str(_attribute(sqs, url, "QueueArn")), (None, None))
    return DeadLetterQueue(sqs, name=name, url=url, source_url=source_url, allowed=allowed)


def letter_boxes(connection: Connection) -> list[LetterBox]:
    """All places with dead letters."""
    again = functools.partial(invoke, connection.functions())
    return [*dead_letter_queues(connection), *stream_batches(connection.objects(), again)]


def _redrives(sqs: Any, url: str) -> Iterator[tuple[str, tuple[str, int | None]]]:
    """The ARN of the dead-letter queue of a queue; its own URL, and after how many deliveries it moves a letter."""
    policy = json.loads(_attribute(sqs, url, "RedrivePolicy") or "{}")
    if target := policy.get("deadLetterTargetArn"):
        allowed = policy.get("maxReceiveCount")
        yield target, (url, int(allowed) if allowed is not None else None)


def _attribute(sqs: Any, url: str, name: str) -> str | None:
    found: Mapping[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name]).get("Attributes", {})
    return found.get(name)


def reasons(connection: Connection) -> Callable[[LetterBox, Sequence[DeadLetter]], Mapping[str, Failures]]:
    """From the logs of the functions that read the source. They may not be readable: then they are left out."""

    def read(queue: LetterBox, letters: Sequence[DeadLetter]) -> Mapping[str, Failures]:
        if queue.source_url is None:
            return {}
        arn = _attribute(connection.client("sqs"), queue.source_url, "QueueArn")
        try:
            return logged_failures(_logged(connection, arn, since=min(letter.sent_at for letter in letters)))
        except Unavailable as error:
            note(f"{error}; its reasons are left out")
            return {}

    return read


def _logged(connection: Connection, queue_arn: str | None, *, since: datetime) -> Iterator[str]:
    functions = connection.client("lambda")
    pages = functions.get_paginator("list_event_source_mappings").paginate(EventSourceArn=queue_arn)
    for mapping in (mapping for page in pages for mapping in page["EventSourceMappings"]):
        function = functions.get_function_configuration(FunctionName=mapping["FunctionArn"])
        if connection.description.logs:
            yield from _file(Path(connection.description.logs, f"{function['FunctionName']}.log"))
        else:
            group = function["LoggingConfig"]["LogGroup"]
            yield from logs.lines(connection.client("logs"), group, pattern=_FAILED, since=since)


def _file(path: Path) -> Iterator[str]:
    if path.exists():
        with path.open(errors="replace") as file:
            yield from file

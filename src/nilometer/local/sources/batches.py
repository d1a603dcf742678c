"""Which records of a batch a function's answer failed, by Lambda's rules, and how large a batch may be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from nilometer.local.workers.runtime import InvocationResult

PAYLOAD_BYTES = 6 * 1024 * 1024  # of an event that invokes a function synchronously
_FRAME_BYTES = len('{"Records":[]}')


def event(records: Sequence[bytes]) -> bytes:
    """The JSON that Lambda hands to a function for a batch of records, each as JSON."""
    return b'{"Records":[%b]}' % b",".join(records)


def encoded(value: Mapping[str, Any] | str) -> bytes:
    """A record, or a part of one, as JSON."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can say and UTF-8 cannot
        return json.dumps(value).encode()


def fitting(records: Sequence[bytes]) -> int:
    """How many of the records, from the first on, fit into one event; at least one."""
    size = _FRAME_BYTES
    for count, record in enumerate(records):
        size += len(record) + len(",")
        if size > PAYLOAD_BYTES and count:
            return count
    return len(records)


def failed_identifiers(answer: InvocationResult, known: Sequence[str], *, partial: bool) -> frozenset[str]:
    """The identifiers that the answer failed: none, some or all of `known`.

    All: a function error, and with `ReportBatchItemFailures` an answer that is not an object, a list of
    failures that is not one, or an identifier that is missing, empty, no string or not of this batch.
    None: an empty or null answer, an empty or null list, and every success without `ReportBatchItemFailures`.

    Source: Lambda Developer Guide, "Handling errors for an SQS event source in Lambda" and "Configuring
    partial batch response with DynamoDB and Lambda", success and failure conditions.
    """
    everything = frozenset(known)
    if answer.error:
        return everything
    if not partial:
        return frozenset()
    try:
        reported = frozenset(_reported(json.loads(answer.payload or b"null")))
    except (ValueError, TypeError):
        return everything
    return reported if reported.issubset(everything) else everything


def _reported(response: object) -> Iterator[str]:
    """Raises `TypeError` or `ValueError` for what Lambda takes as a complete failure."""
    if response is None or response == "":
        return
    if not isinstance(response, dict):
        raise TypeError("not an object")
    failures = response.get("batchItemFailures")
    if failures is not None and not isinstance(failures, list):
        raise TypeError("not a list")
    for failure in failures or ():
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str) or not identifier:
            raise ValueError("no identifier")
        yield identifier

"""Lambda's rules of what an answer says about a batch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nilometer.local.sources.batches import PAYLOAD_BYTES, encoded, event, failed_identifiers, fitting
from nilometer.local.workers.runtime import InvocationResult

KNOWN = ("a", "b", "c")


def failed(answer: Any, *, partial: bool = True) -> set[str]:
    return set(failed_identifiers(InvocationResult(json.dumps(answer).encode()), KNOWN, partial=partial))


@pytest.mark.parametrize("answer", [None, {}, "", {"batchItemFailures": []}, {"batchItemFailures": None}, {"other": 1}])
def test_an_empty_answer_is_a_complete_success(answer: Any) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda", success conditions."""
    assert failed(answer) == set()


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemIdentifier": 7}]},
        {"batchItemFailures": [{"id": "a"}]},
        {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "unknown"}]},
        {"batchItemFailures": ["a"]},
        {"batchItemFailures": "a"},
        {"batchItemFailures": {"itemIdentifier": "a"}},
        ["a"],
        "done",
        7,
    ],
)
def test_a_bad_answer_is_a_complete_failure(answer: Any) -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda", failure conditions."""
    assert failed(answer) == set(KNOWN)


def test_what_is_no_json_is_a_complete_failure() -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda": an invalid JSON response."""
    assert failed_identifiers(InvocationResult(b"{"), KNOWN, partial=True) == set(KNOWN)


def test_reported_identifiers_alone_failed() -> None:
    """Lambda Developer Guide, "Handling errors for an SQS event source in Lambda", partial batch responses."""
    assert failed({"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}) == {"b"}


def test_without_partial_responses_the_answer_says_nothing() -> None:
    """Lambda Developer Guide: `FunctionResponseTypes` turns them on."""
    assert failed({"batchItemFailures": [{"itemIdentifier": "b"}]}, partial=False) == set()
    assert failed_identifiers(InvocationResult(b"{}", "ValueError"), KNOWN, partial=False) == set(KNOWN)


def test_a_batch_fits_into_an_invocation() -> None:
    """Lambda Developer Guide, "Lambda quotas": 6 MB of a synchronous invocation; one record goes in any case."""
    records = [encoded({"body": "x" * 1_000_000})] * 10

    count = fitting(records)

    assert len(event(records[:count])) <= PAYLOAD_BYTES < len(event(records[: count + 1]))
    assert fitting([encoded({"body": "x" * 7_000_000})] * 2) == 1
    assert fitting(records[:2]) == 2


def test_half_a_surrogate_pair_reaches_the_function_as_it_came() -> None:
    """JSON can say it, and UTF-8 cannot."""
    record = {"body": json.loads(r'"\ud800"')}

    assert json.loads(event([encoded(record)])) == {"Records": [record]}

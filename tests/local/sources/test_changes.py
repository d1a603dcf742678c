"""What a function gets of a stream's records, and what its filters see of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nilometer.local.plane.filters import matches
from nilometer.local.sources.batches import event
from nilometer.local.sources.changes import ChangesPage, StreamChange, passing

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/records/stream/1"
NAMES = st.sampled_from(["a", "b", "c"])
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "xy", "\ud800", "é"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner), max_leaves=8)
RULES = LEAVES | st.sampled_from([{"exists": True}, {"exists": False}, {"prefix": "x"}, {"anything-but": ["x", 1]}])
PATTERNS = st.recursive(
    st.dictionaries(NAMES, st.lists(RULES, min_size=1, max_size=2), min_size=1),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1) | st.builds(lambda some: {"$or": some}, st.lists(inner)),
    max_leaves=5,
)


def record(number: str = "7", **more: Any) -> dict[str, Any]:
    """As GetRecords says it."""
    change = {"SequenceNumber": number, "ApproximateCreationDateTime": 1_764_000_000, "Keys": {"pk": {"S": "a"}}}
    return {"eventID": "e", "eventName": "MODIFY", "dynamodb": change, **more}


def page(*records: dict[str, Any], **more: Any) -> ChangesPage:
    return ChangesPage.decoded(json.dumps({"Records": records, **more}).encode(), ARN)


def handed(found: ChangesPage) -> list[dict[str, Any]]:
    """The records of the function's event."""
    records: list[dict[str, Any]] = json.loads(event([change.content for change in found.changes]))["Records"]
    return records


@pytest.mark.parametrize("text", ["plain", "é", "\ud800"], ids=["plain", "accent", "half a surrogate pair"])
def test_a_record_reaches_the_function_as_it_came(text: str) -> None:
    """With the ARN of its stream, which GetRecords leaves out."""
    first, second = record("7", image={"S": text}), record("8")
    found = page(first, second, NextShardIterator="on")

    assert handed(found) == [{**one, "eventSourceARN": ARN} for one in (first, second)]
    assert [(change.number, change.written) for change in found.changes] == [("7", 1_764_000_000), ("8", 1_764_000_000)]
    assert found.following == "on"


@pytest.mark.parametrize("text", ["plain", "\ud800"], ids=["plain", "half a surrogate pair"])
def test_who_removed_an_item_has_lambdas_names(text: str) -> None:
    """Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB": `type` and `principalId`."""
    found = page(record(image=text, userIdentity={"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}))

    assert handed(found)[0]["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def test_an_empty_page_of_a_closed_shard_has_no_next() -> None:
    assert page() == ChangesPage([], None)


@given(st.dictionaries(NAMES, VALUES), st.lists(PATTERNS, max_size=3))
@example({"a": {"b": "x"}}, [{"a": ["x"]}])
@example({"a": [{"b": 1}, {"b": 2}]}, [{"a": {"b": [2]}}])
@example({"a": {"b": 1}}, [{"$or": [{"a": {"b": [2]}}, {"a": {"b": [1]}}]}])
@example({"a": {"b": 1}}, [{"a": {"c": [{"exists": False}]}}])
def test_filters_see_what_they_name(value: dict[str, Any], patterns: list[dict[str, Any]]) -> None:
    """As if they saw all."""
    change = StreamChange(json.dumps(value).encode(), "7", 0.0)

    assert bool(passing([change], patterns)) == (not patterns or any(matches(value, one) for one in patterns))

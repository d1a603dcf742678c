"""Event patterns as filter criteria."""

from __future__ import annotations

from typing import Any

import pytest

from nilometer.errors import Misconfigured
from nilometer.local.plane.filters import check, matches, message_passes, passes

CASES: list[tuple[Any, Any, bool]] = [
    # exact, null, empty, types
    ({"a": "x"}, {"a": ["x", "y"]}, True),
    ({"a": "z"}, {"a": ["x", "y"]}, False),
    ({"a": "X"}, {"a": ["x"]}, False),
    ({"a": None}, {"a": [None]}, True),
    ({}, {"a": [None]}, False),
    ({"a": ""}, {"a": [""]}, True),
    ({"a": "1"}, {"a": [1]}, False),
    ({"a": True}, {"a": [1]}, False),
    ({"a": True}, {"a": [True]}, True),
    ({"a": 300}, {"a": [3.0e2]}, True),
    ({"a": 0.1}, {"a": [0.10]}, True),
    # fields are ANDed, nested, arrays
    ({"a": "x", "b": "y"}, {"a": ["x"], "b": ["y"]}, True),
    ({"a": "x", "b": "z"}, {"a": ["x"], "b": ["y"]}, False),
    ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": [1]}}}, True),
    ({"a": "x"}, {"a": {"b": ["x"]}}, False),
    ({"a": ["p", "q"]}, {"a": ["q"]}, True),
    ({"a": ["p", "q"]}, {"a": ["r"]}, False),
    ({"a": [{"b": 1}, {"b": 2}]}, {"a": {"b": [2]}}, True),
    # prefix, suffix, case
    ({"a": "customer.created"}, {"a": [{"prefix": "customer."}]}, True),
    ({"a": "invoice.created"}, {"a": [{"prefix": "customer."}]}, False),
    ({"a": 5}, {"a": [{"prefix": "5"}]}, False),
    ({"a": "image.PNG"}, {"a": [{"suffix": ".PNG"}]}, True),
    ({"a": "image.PNG"}, {"a": [{"suffix": ".png"}]}, False),
    ({"a": "image.PNG"}, {"a": [{"suffix": {"equals-ignore-case": ".png"}}]}, True),
    ({"a": "Customer.x"}, {"a": [{"prefix": {"equals-ignore-case": "cUSTOMER"}}]}, True),
    ({"a": "AlIcE"}, {"a": [{"equals-ignore-case": "alice"}]}, True),
    # numeric
    ({"a": 5}, {"a": [{"numeric": [">", 0, "<=", 5]}]}, True),
    ({"a": 6}, {"a": [{"numeric": [">", 0, "<=", 5]}]}, False),
    ({"a": 5.0}, {"a": [{"numeric": ["=", 5]}]}, True),
    ({"a": -1}, {"a": [{"numeric": ["<", 0]}]}, True),
    ({"a": "5"}, {"a": [{"numeric": ["=", 5]}]}, False),
    ({"a": True}, {"a": [{"numeric": ["=", 1]}]}, False),
    ({"a": [9, 1]}, {"a": [{"numeric": ["<", 5]}]}, True),
    # anything-but
    ({"a": "x"}, {"a": [{"anything-but": "y"}]}, True),
    ({"a": "y"}, {"a": [{"anything-but": "y"}]}, False),
    ({}, {"a": [{"anything-but": "y"}]}, False),
    ({"a": "x"}, {"a": [{"anything-but": ["x", "y"]}]}, False),
    ({"a": 3}, {"a": [{"anything-but": [1, 2]}]}, True),
    ({"a": 2.0}, {"a": [{"anything-but": [1, 2]}]}, False),
    ({"a": "nilometer.changes"}, {"a": [{"anything-but": {"prefix": "nilometer."}}]}, False),
    ({"a": "billing.app"}, {"a": [{"anything-but": {"prefix": "nilometer."}}]}, True),
    ({"a": "x.png"}, {"a": [{"anything-but": {"suffix": ".png"}}]}, False),
    ({"a": "x.png"}, {"a": [{"anything-but": {"suffix": [".jpg", ".png"]}}]}, False),
    ({"a": "ALICE"}, {"a": [{"anything-but": {"equals-ignore-case": ["alice", "bob"]}}]}, False),
    ({"a": "a/lib/b"}, {"a": [{"anything-but": {"wildcard": "*/lib/*"}}]}, False),
    # exists looks at leaves
    ({"a": None}, {"a": [{"exists": True}]}, True),
    ({}, {"a": [{"exists": True}]}, False),
    ({}, {"a": [{"exists": False}]}, True),
    ({"a": 1}, {"a": [{"exists": False}]}, False),
    ({"a": {"b": 1}}, {"a": [{"exists": True}]}, False),
    ({"b": 1}, {"a": {"c": [{"exists": False}]}}, True),
    # wildcard
    ({"a": "/users/7/data"}, {"a": [{"wildcard": "/users/*/data"}]}, True),
    ({"a": "/users/7/x"}, {"a": [{"wildcard": "/users/*/data"}]}, False),
    ({"a": "a.b"}, {"a": [{"wildcard": "a?b"}]}, False),
    ({"a": "a*b"}, {"a": [{"wildcard": "a\\*b"}]}, True),
    ({"a": "axb"}, {"a": [{"wildcard": "a\\*b"}]}, False),
    ({"a": "a\\b"}, {"a": [{"wildcard": "a\\\\b"}]}, True),
    # $or
    ({"a": 1, "b": 9}, {"$or": [{"a": [1]}, {"b": [2]}]}, True),
    ({"a": 0, "b": 9}, {"$or": [{"a": [1]}, {"b": [2]}]}, False),
    ({"a": 1, "c": 1}, {"c": [1], "$or": [{"a": [1]}, {"b": [2]}]}, True),
    ({"d": {"a": 1}}, {"d": {"$or": [{"a": [1]}, {"b": [2]}]}}, True),
]


@pytest.mark.parametrize(("event", "pattern", "expected"), CASES)
def test_a_pattern_matches_as_on_eventbridge(event: Any, pattern: Any, expected: bool) -> None:
    """Amazon EventBridge User Guide, "Comparison operators for use in event patterns"."""
    assert matches(event, pattern) is expected


def test_one_of_several_filters_is_enough() -> None:
    """Lambda Developer Guide, "Control which events Lambda sends to your function": filters are ORed."""
    assert passes({"a": 2}, [{"a": [1]}, {"a": [2]}])
    assert not passes({"a": 3}, [{"a": [1]}, {"a": [2]}])
    assert passes({"a": 3}, [])


@pytest.mark.parametrize(
    ("body", "pattern", "expected"),
    [
        ('{"kind": "x"}', {"body": {"kind": ["x"]}}, True),
        ('{"kind": "y"}', {"body": {"kind": ["x"]}}, False),
        ("plain", {"body": {"kind": ["x"]}}, False),
        ("plain", {"body": ["plain"]}, True),
        ("plain text", {"body": [{"prefix": "plain"}]}, True),
        ('{"kind": "x"}', {"body": ["plain"]}, False),
        ('{"kind": "x"}', {"eventSource": ["aws:sqs"]}, True),
    ],
)
def test_a_body_and_its_filter_have_the_same_format(body: str, pattern: Any, expected: bool) -> None:
    """Lambda Developer Guide, "Using event filtering with an Amazon SQS event source": a mismatch drops the message."""
    assert message_passes({"body": body, "eventSource": "aws:sqs"}, [pattern]) is expected


def test_an_operator_that_is_not_known_is_refused() -> None:
    """It must neither pass nor drop records in silence, wherever it stands."""
    for pattern in ({"a": [{"cidr": "10.0.0.0/24"}]}, {"$or": [{"a": {"b": ["x", {"cidr": "10.0.0.0/24"}]}}]}):
        with pytest.raises(Misconfigured, match="cidr"):
            check(pattern)


@pytest.mark.parametrize("pattern", [pattern for _, pattern, _ in CASES])
def test_a_known_pattern_passes_the_check(pattern: Any) -> None:
    """Everything that is matched above."""
    check(pattern)

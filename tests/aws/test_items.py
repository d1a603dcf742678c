"""Items between Python and DynamoDB's attribute values: nothing changes on the way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from nilometer.aws.items import from_attribute, marshal, to_attribute, unmarshal

numbers = st.one_of(
    st.integers(-(10**37), 10**37),
    st.decimals(-(10**20), 10**20, places=9, allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(st.text(max_size=20), st.booleans(), numbers, st.none(), st.binary(max_size=20))
values = st.recursive(
    st.one_of(scalars, st.sets(st.text(max_size=5), min_size=1, max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1, max_size=10), values, max_size=6))
def test_an_item_comes_back_as_it_went(item: dict[str, Any]) -> None:
    """Every value that a record may hold."""
    assert unmarshal(marshal(item)) == item


@given(values)
def test_boto3_reads_what_we_write(value: Any) -> None:
    """Other services read the tables with the ordinary serializers."""
    assert plain(TypeDeserializer().deserialize(to_attribute(value))) == value


@given(values)
def test_we_read_what_boto3_writes(value: Any) -> None:
    """And the other way round."""
    assert from_attribute(TypeSerializer().serialize(value)) == value


def plain(value: Any) -> Any:
    """boto3 wraps bytes in a type of its own, at every depth."""
    match value:
        case dict():
            return {name: plain(inner) for name, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case _ if hasattr(value, "value"):
            return value.value
    return value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1.0", 1),
        ("1E+3", 1000),
        ("0.50", Decimal("0.5")),
        ("-0", 0),
        ("123456789012345678901", 123456789012345678901),
    ],
)
def test_a_whole_number_is_an_int(text: str, number: int | Decimal) -> None:
    """However DynamoDB spells it: versions and counts are compared as ints."""
    found = from_attribute({"N": text})

    assert found == number
    assert type(found) is type(number)


def test_a_boolean_is_not_a_number() -> None:
    """Python's True is an int; DynamoDB's is not."""
    assert to_attribute(True) == {"BOOL": True}


@pytest.mark.parametrize("value", [1.5, object(), set(), {1, 2}, {"a", 1}])
def test_what_dynamodb_would_change_is_refused(value: Any) -> None:
    """Floats above all: money and quantities are exact."""
    with pytest.raises(TypeError):
        to_attribute(value)


def test_a_number_never_travels_in_scientific_notation() -> None:
    """Decimal prints 1E+3; a reader of the stream may expect digits."""
    assert to_attribute(Decimal("1E+3")) == {"N": "1000"}

"""Items between plain Python values and DynamoDB's attribute values.

Faster than boto3's serializers, because it neither copies a Decimal context nor wraps bytes, and most attributes are
texts. Numbers come back as `int` when whole, else `Decimal`.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from nilometer.errors import Rejected

AttributeValue = dict[str, Any]

EXPONENT = 130  # of the largest and the smallest number that DynamoDB takes


def marshal(item: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Every attribute of an item in DynamoDB's form, `{name: {type: value}}`, as requests need it."""
    return {name: {"S": value} if type(value) is str else to_attribute(value) for name, value in item.items()}


def unmarshal(item: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `marshal`. Whole numbers become `int`, others `Decimal`."""
    return {name: value["S"] if "S" in value else from_attribute(value) for name, value in item.items()}


def to_attribute(value: Any) -> AttributeValue:
    """`TypeError` for a float (use Decimal) and for types that DynamoDB does not know."""
    kind = type(value)  # most values are of one of three, which are told apart sooner than in `_to_attribute`
    if kind is str:
        return {"S": value}
    if kind is int:
        return {"N": str(value)}
    if kind is list:
        return {"L": [to_attribute(element) for element in value]}
    return _to_attribute(value)


def _to_attribute(value: Any) -> AttributeValue:
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case Decimal():
            return {"N": _digits(value)}
        case None:
            return {"NULL": True}
        case bytes():
            return {"B": value}
        case Mapping():
            return {"M": marshal(value)}
        case list() | tuple():
            return {"L": [to_attribute(element) for element in value]}
        case set() | frozenset() if value and all(isinstance(element, str) for element in value):
            return {"SS": sorted(value)}
    raise TypeError(f"{type(value).__name__} cannot be stored in DynamoDB")


def _digits(number: Decimal) -> str:
    """Without an exponent: one of a million would be a million digits, which take seconds and are refused."""
    if abs(number.adjusted()) > EXPONENT:
        raise Rejected("too_large", f"a number of some {abs(number.adjusted())} digits cannot be stored")
    return format(number, "f")


def from_attribute(attribute: AttributeValue) -> Any:
    """One attribute value as plain Python: `SS` becomes a set, and binary may still be base64 (`encoding.decoding`).
    `TypeError` for `NS` and `BS`, which no item has."""
    if "S" in attribute:
        return attribute["S"]
    if "N" in attribute:
        return _number(attribute["N"])
    if "L" in attribute:
        return [from_attribute(element) for element in attribute["L"]]
    [(tag, value)] = attribute.items()
    match tag:
        case "BOOL":
            return value
        case "B":
            return a2b_base64(value) if isinstance(value, str) else value
        case "NULL":
            return None
        case "M":
            return unmarshal(value)
        case "SS":
            return set(value)
    raise TypeError(f"attribute type {tag} is not used here")


def _number(text: str) -> int | Decimal:
    try:
        return int(text)
    except ValueError:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else number

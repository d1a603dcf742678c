"""EventBridge patterns as `FilterCriteria` of event source mappings use them.

A value matches when any of the rules listed for its field does; of an array, when any element does;
fields are ANDed and `$or` takes alternatives. Numbers are compared as numbers: 300 matches 3.0e2.

Source: Lambda Developer Guide, "Control which events Lambda sends to your function", and Amazon EventBridge
User Guide, "Comparison operators for use in event patterns".
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nilometer.errors import Misconfigured

Pattern = Mapping[str, Any]

_MISSING = object()
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


def check(pattern: Pattern) -> None:
    """Raises `Misconfigured` for an operator that is not known here: it must not pass or drop in silence."""
    for name, rule in pattern.items():
        if isinstance(rule, Mapping):
            check(rule)
        elif name == "$or":
            for alternative in rule:
                check(alternative)
        else:
            _check_rules(rule)


def _check_rules(rules: Sequence[Any]) -> None:
    for rule in rules:
        for name in rule if isinstance(rule, Mapping) else ():
            if name not in {*_OPERATORS, "exists"}:
                raise Misconfigured(f"filter operator {name!r} is not known here; see the EventBridge User Guide")


def passes(record: Mapping[str, Any], patterns: Sequence[Pattern]) -> bool:
    """True when one of the patterns matches, or when there is none."""
    return not patterns or any(matches(record, pattern) for pattern in patterns)


def message_passes(record: Mapping[str, Any], patterns: Sequence[Pattern]) -> bool:
    """As `passes`, for the record of an SQS message, whose body is a string.

    A pattern with fields below `body` is held against a body that is a JSON object, a list of rules
    against a body that is a plain string; where the two differ the message is dropped.
    Source: Lambda Developer Guide, "Using event filtering with an Amazon SQS event source".
    """
    return not patterns or any(_message_matches(record, pattern) for pattern in patterns)


def _message_matches(record: Mapping[str, Any], pattern: Pattern) -> bool:
    if "body" not in pattern:
        return matches(record, pattern)
    body = _json_object(record["body"])
    if isinstance(pattern["body"], Mapping) is (body is None):
        return False
    return matches({**record, "body": record["body"] if body is None else body}, pattern)


def _json_object(body: str) -> dict[str, Any] | None:
    try:
        decoded = json.loads(body)
    except ValueError:
        return None
    return decoded if isinstance(decoded, dict) else None


def matches(event: object, pattern: Pattern) -> bool:
    """For a pattern that `check` has let through."""
    return all(_field_matches(event, name, rule) for name, rule in pattern.items())


def _field_matches(event: object, name: str, rule: Any) -> bool:
    if name == "$or":
        return any(matches(event, alternative) for alternative in rule)
    values = _values(event, name)
    if isinstance(rule, Mapping):
        # A field of fields: an absent one still meets `exists: false` below it.
        return any(matches(value, rule) for value in values or [{}])
    return any(_rule_matches(values, condition) for condition in rule)


def _values(event: object, name: str) -> list[Any]:
    """Those under a name, of one object or of each in an array; arrays are flattened."""
    if isinstance(event, list):
        return [value for item in event for value in _values(item, name)]
    found = event.get(name, _MISSING) if isinstance(event, Mapping) else _MISSING
    return [] if found is _MISSING else _flat(found)


def _flat(value: object) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list) else [value]


def _rule_matches(values: list[Any], rule: Any) -> bool:
    if not isinstance(rule, Mapping):
        return any(_equal(value, rule) for value in values)
    ((name, operand),) = rule.items()
    leaves = [value for value in values if not isinstance(value, Mapping)]
    if name == "exists":
        # It tests leaves only: an object does not "exist".
        return bool(leaves) is operand
    return any(_OPERATORS[name](value, operand) for value in leaves)


def _equal(value: object, expected: object) -> bool:
    """`True` is not 1, and "1" is neither."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if _is_number(value) and _is_number(expected):
        return value == expected
    return type(value) is type(expected) and value == expected


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _affix(value: object, operand: Any, found: Callable[[str, str], bool]) -> bool:
    if not isinstance(value, str):
        return False
    if isinstance(operand, Mapping):
        return found(value.casefold(), operand["equals-ignore-case"].casefold())
    return found(value, operand)


def _prefix(value: object, operand: Any) -> bool:
    return _affix(value, operand, str.startswith)


def _suffix(value: object, operand: Any) -> bool:
    return _affix(value, operand, str.endswith)


def _equals_ignore_case(value: object, operand: Any) -> bool:
    return isinstance(value, str) and value.casefold() == operand.casefold()


def _wildcard(value: object, operand: str) -> bool:
    r"""`*` is any number of characters; `\*` and `\\` are themselves."""
    parts = re.findall(r"\\[*\\]|\*|[^*\\]+|\\", operand)
    expression = "".join(".*" if part == "*" else re.escape(_unescaped(part)) for part in parts)
    return isinstance(value, str) and re.fullmatch(expression, value, re.DOTALL) is not None


def _unescaped(part: str) -> str:
    return part[1:] if len(part) == 2 and part[0] == "\\" else part


def _numeric(value: object, operand: Sequence[Any]) -> bool:
    """Pairs of an operator and a bound, all of which must hold."""
    bounds = zip(operand[::2], operand[1::2], strict=True)
    return _is_number(value) and all(_COMPARISONS[sign](value, bound) for sign, bound in bounds)


def _anything_but(value: object, operand: Any) -> bool:
    if isinstance(operand, Mapping):
        ((name, excluded),) = operand.items()
        return not any(_OPERATORS[name](value, each) for each in _listed(excluded))
    return not any(_equal(value, each) for each in _listed(operand))


def _listed(operand: Any) -> list[Any]:
    return operand if isinstance(operand, list) else [operand]


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
    "numeric": _numeric,
    "anything-but": _anything_but,
}

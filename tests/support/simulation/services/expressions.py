"""The part of DynamoDB's expression language that the product uses, compiled to functions of attribute values.

Source: DynamoDB Developer Guide, "Using update expressions" and "Condition and filter expressions, operators, and
functions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import cache
from typing import Any

Names = Mapping[str, str]
Values = Mapping[str, Any]
ItemValues = Mapping[str, Any]
Predicate = Callable[[ItemValues, Names, Values], bool]

DIGITS = Context(prec=38)
_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[#:]?[A-Za-z_0-9.]+)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class SimExpressionError(Exception):
    """DynamoDB would answer with a ValidationException."""


@cache
def condition(text: str) -> Predicate:
    """A ConditionExpression, KeyConditionExpression or FilterExpression."""
    parser = _Parser(text)
    found = parser.any_of()
    parser.end()
    return found


@cache
def update(text: str) -> Callable[[dict[str, Any], Names, Values], dict[str, Any]]:
    """An UpdateExpression with SET and ADD: the new item from the old one."""
    parser = _Parser(text)
    steps = parser.update()

    def apply(item: dict[str, Any], names: Names, values: Values) -> dict[str, Any]:
        changed = dict(item)
        for step in steps:
            step(item, changed, names, values)
        return changed

    return apply


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        if "".join(self.tokens) != re.sub(r"\s", "", text):
            raise SimExpressionError(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if expected and token.upper() != expected:
            raise SimExpressionError(f"{expected} expected, not {token!r}")
        self.at += 1
        return token

    def end(self) -> None:
        if self.peek():
            raise SimExpressionError(f"unexpected {self.peek()!r}")

    def any_of(self) -> Predicate:
        parts = [self.all_of()]
        while self.peek().upper() == "OR":
            self.take()
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else lambda i, n, v: any(part(i, n, v) for part in parts)

    def all_of(self) -> Predicate:
        parts = [self.term()]
        while self.peek().upper() == "AND":
            self.take()
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else lambda i, n, v: all(part(i, n, v) for part in parts)

    def term(self) -> Predicate:
        token = self.take()
        if token == "(":
            inner = self.any_of()
            self.take(")")
            return inner
        if token in {"attribute_exists", "attribute_not_exists"}:
            [name] = self.arguments()
            wanted = token == "attribute_exists"
            return lambda i, n, v: (_name(name, n) in i) is wanted
        if token == "begins_with":
            name, prefix = self.arguments()
            return lambda i, n, v: str(i.get(_name(name, n), {}).get("S", "")).startswith(v[prefix]["S"])
        operator, value = self.take(), self.take()
        compare = _COMPARISONS[operator]
        return lambda i, n, v: _compared(i.get(_name(token, n)), v[value], compare)

    def arguments(self) -> list[str]:
        self.take("(")
        found = [self.take()]
        while self.peek() == ",":
            self.take()
            found.append(self.take())
        self.take(")")
        return found

    def update(self) -> list[Callable[..., None]]:
        steps: list[Callable[..., None]] = []
        while self.peek():
            clause = self.take().upper()
            if clause not in {"SET", "ADD"}:
                raise SimExpressionError(f"{clause} is not modelled")
            steps.append(self.set_step() if clause == "SET" else self.add_step())
            while self.peek() == ",":
                self.take()
                steps.append(self.set_step() if clause == "SET" else self.add_step())
        return steps

    def set_step(self) -> Callable[..., None]:
        target = self.take()
        self.take("=")
        if self.peek() != "if_not_exists":
            value = self.take()
            return lambda _old, new, n, v: new.__setitem__(_name(target, n), v[value])
        self.take()
        name, value = self.arguments()
        return lambda old, new, n, v: new.__setitem__(_name(target, n), old.get(_name(name, n), v[value]))

    def add_step(self) -> Callable[..., None]:
        target, value = self.take(), self.take()
        return lambda old, new, n, v: new.__setitem__(_name(target, n), _sum(old.get(_name(target, n)), v[value]))


def _name(token: str, names: Names) -> str:
    return names[token] if token.startswith("#") else token


def _compared(stored: Any, value: Any, compare: Callable[[Any, Any], bool]) -> bool:
    """False for an attribute that is absent or of another type, whatever the comparison (but `<>`)."""
    if stored is None:
        return False
    [(tag, left)], [(other, right)] = stored.items(), value.items()
    if tag != other:
        return compare is _COMPARISONS["<>"]
    return compare(Decimal(left), Decimal(right)) if tag == "N" else compare(left, right)


def _sum(stored: Any, value: Any) -> dict[str, str]:
    if stored is not None and "N" not in stored:
        raise SimExpressionError("An operand in the update expression has an incorrect data type")
    exact = Context(prec=100)
    total = exact.add(Decimal(stored["N"]) if stored else Decimal(0), Decimal(value["N"]))
    if DIGITS.plus(total) != total:
        raise SimExpressionError("Number overflow. Attempting to store a number with too many digits")
    return {"N": number(total)}


def number(value: Decimal) -> str:
    """As DynamoDB gives numbers back: no zeros at the ends, no exponent."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text

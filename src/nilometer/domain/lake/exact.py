"""Numbers that stay exact on the bus, even if a consumer parses them as 64-bit floats.

An image says a number that no float holds as text, and names its place under `exact_numbers`:

    {"total": "12345678.123456789", "exact_numbers": ["/total"]}

Only such numbers: others, and images without them, look as before. Places are JSON pointers (RFC 6901).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

EXACT_NUMBERS = "exact_numbers"
_WHOLE = 2**53  # up to here a float holds every whole number
_LONGEST = 200  # digits that are written out: DynamoDB's numbers have at most 126

Image = dict[str, Any]


def written(image: Mapping[str, Any]) -> Image:
    """An image as it travels. `read` gives it back, equal."""
    travelling: Image = texts(image)
    if travelling == image:  # a text equals no number, so there is none to name
        return travelling
    places = ["/".join(("", *map(_escaped, path))) for path in _inexact(image, ())]
    return travelling | {EXACT_NUMBERS: places} if places else travelling


def read(image: Mapping[str, Any]) -> Image:
    """An image as it was written. A place that is not there, or is no number, is left as it is."""
    restored: Image = _copied(image)
    places = restored.pop(EXACT_NUMBERS, None)
    for place in places if isinstance(places, list) else ():
        _restore(restored, [part.replace("~1", "/").replace("~0", "~") for part in str(place).split("/")[1:]])
    return restored


def texts(value: Any) -> Any:
    """`value` in which each number that no float holds is text, and each other one is an int or a Decimal."""
    match value:
        case str() | None | bool():  # most values, so first
            return value
        case dict() | Mapping():
            return {name: texts(inner) for name, inner in value.items()}
        case list() | tuple():
            return [texts(inner) for inner in value]
        case _ if _is_inexact(value):
            return format(value, "f") if isinstance(value, Decimal) and value.adjusted() < _LONGEST else str(value)
        case Decimal() if value == value.to_integral_value():
            return int(value)
        case _:
            return value


def _is_inexact(value: Any) -> bool:
    match value:
        case bool():
            return False
        case int():
            return abs(value) > _WHOLE
        case Decimal():
            if not value.is_finite() or abs(value) > _WHOLE:
                return True
            return Decimal(repr(float(value))) != value
        case _:
            return False


def _inexact(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _inexact(inner, (*path, str(name)))
        case list() | tuple():
            for place, inner in enumerate(value):
                yield from _inexact(inner, (*path, str(place)))
        case _ if _is_inexact(value):
            yield path


def _restore(image: Image, path: list[str]) -> None:
    *parents, last = path or [""]
    holder: Any = image
    for part in parents:
        holder = _inside(holder, part)
    text = _inside(holder, last)
    if isinstance(text, str) and (number := _number(text)) is not None:
        holder[last if isinstance(holder, dict) else int(last)] = number


def _inside(holder: Any, part: str) -> Any:
    match holder:
        case dict():
            return holder.get(part)
        case list() if part.isdecimal() and int(part) < len(holder):
            return holder[int(part)]
        case _:
            return None


def _number(text: str) -> int | Decimal | None:
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    if not number.is_finite() or "." in text or "E" in text.upper():
        return number
    return int(number)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _copied(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _copied(inner) for name, inner in value.items()}
        case list():
            return [_copied(inner) for inner in value]
        case _:
            return value

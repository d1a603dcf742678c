"""Limits written into Stripe's catalog: product metadata, overlaid by price metadata, per seat where so marked;
and in the metadata of features.

`limit_<meter>` is a number, `unlimited`, a number per seat (`1000/seat`), or a JSON object with `included`, `soft`,
`hard`, `overage`, `grace`, `thresholds`, `per_seat`. `limits` is a JSON object of such values by meter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

Limit = Mapping[str, Any]

_AMOUNTS = ("included", "soft", "hard")
DIGITS, DECIMALS = 15, 9
_SMALLEST = Decimal(1).scaleb(-DECIMALS)
_TEXT = 100  # characters of a number or a word
_THRESHOLDS = 20


def limits_of(metadata: Mapping[str, str]) -> dict[str, Limit]:
    """By meter; what cannot be read is left out and named by `problems`."""
    return {meter: limit for meter, value in _written(metadata) if (limit := _limit(value)) is not None}


def problems(metadata: Mapping[str, str]) -> list[str]:
    """Names of limits that cannot be read."""
    unread = [meter for meter, value in _written(metadata) if _limit(value) is None]
    return sorted([*unread, *(["limits"] if "limits" in metadata and _json(metadata["limits"]) is None else [])])


def total(parts: Iterable[tuple[Limit, int]], source: str) -> Limit:
    """The limit of several items of one meter: `(limit, quantity)` each; amounts add up, unlimited wins."""
    given = list(parts)
    whole: dict[str, Any] = {}
    for name in _AMOUNTS:
        amounts = [_scaled(limit, name, quantity) for limit, quantity in given if name in limit]
        if amounts:
            whole[name] = None if None in amounts else sum(a for a in amounts if a is not None)
    for limit, _ in given:
        whole |= {name: limit[name] for name in _OTHERS if name in limit}
    return versioned(whole, source)


def versioned(rule: Limit, source: str) -> Limit:
    """With a version that changes exactly when the rule does: thresholds alert once a version."""
    content = json.dumps(rule, sort_keys=True, default=str)
    return {**rule, "source": source, "version": hashlib.sha256(content.encode()).hexdigest()[:8]}


def _scaled(limit: Limit, name: str, quantity: int) -> int | Decimal | None:
    amount: int | Decimal | None = limit[name]
    return amount * quantity if amount is not None and limit.get("per_seat") else amount


def _written(metadata: Mapping[str, str]) -> list[tuple[str, Any]]:
    together = _json(metadata.get("limits", "{}")) or {}
    alone = {name.removeprefix("limit_"): text for name, text in metadata.items() if name.startswith("limit_")}
    return sorted({**together, **alone}.items())


def _json(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _limit(value: Any) -> Limit | None:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json(value)
    if isinstance(value, Mapping):
        return _described(value)
    text = str(value).strip().lower()
    amount, per_seat, _ = text.partition("/seat")
    number = _amount(amount)
    if number is None and amount != "unlimited":
        return None
    return {"included": number, **({"per_seat": True} if per_seat else {})}


def _described(value: Mapping[str, Any]) -> Limit | None:
    if not all(_OTHERS[name](value[name]) for name in _OTHERS if name in value):
        return None
    limit = {name: value[name] for name in _OTHERS if name in value}
    for name in _AMOUNTS:
        if name in value:
            limit[name] = None if value[name] in (None, "unlimited") else _amount(value[name])
            if limit[name] is None and value[name] not in (None, "unlimited"):
                return None
    return limit | ({"per_seat": True} if value.get("per_seat") else {})


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT


def _is_grace(value: Any) -> bool:
    return _is_word(value) or (type(value) is int and 0 <= value < 10**6)


def _are_thresholds(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _THRESHOLDS and all(_amount(one) is not None for one in value)


_OTHERS: Mapping[str, Callable[[Any], bool]] = {
    "overage": _is_word,
    "grace": _is_grace,
    "thresholds": _are_thresholds,
}


def _amount(value: Any) -> int | Decimal | None:
    """At most `DIGITS` before and `DECIMALS` after the point: what a counter of usage can hold, times the seats."""
    text = str(value).strip().replace("_", "") if isinstance(value, str | int | Decimal) else ""
    try:
        number = Decimal(text) if len(text) <= _TEXT else Decimal("NaN")
    except InvalidOperation:
        return None
    if isinstance(value, bool) or not number.is_finite() or number < 0 or number.adjusted() >= DIGITS:
        return None
    if number != number.quantize(_SMALLEST):
        return None
    return int(number) if number == number.to_integral_value() else number

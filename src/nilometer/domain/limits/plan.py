"""Limits written into Stripe's catalog: product metadata, overlaid by price metadata, per seat where so marked;
and in the metadata of features.

`limit_<meter>` is a number, `unlimited`, a number per seat (`1000/seat`), or a JSON object with `included`, `soft`,
`hard`, `overage`, `grace`, `thresholds`, `per_seat`. `limits` is a JSON object of such values by meter.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from nilometer.domain.limits.limit import GRACE
from nilometer.domain.usage.meter import SLUG

Limit = Mapping[str, Any]
Part = tuple[Limit, int, int]
"""What items of one meter give: the limit of each, the sum of their quantities, and how many they are."""

METERS = 100  # limits of one object of Stripe's
LONGEST = 10_000  # characters of a JSON object in metadata; Stripe's values have at most 500
NAMED = 80  # characters of a name that cannot be one
DIGITS, WHOLE_DIGITS, FRACTION_DIGITS = 40, 15, 9
MOST_PERCENT = 10_000
_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,20})?(e\+?[0-9]{1,2})?", re.IGNORECASE)

_AMOUNTS = ("included", "soft", "hard")


def limits_of(metadata: Mapping[str, str]) -> dict[str, Limit]:
    """By meter; what cannot be read is left out and named by `problems`. Reads at most `METERS` limits."""
    read = ((meter, _limit(value)) for meter, value in _written(metadata) if SLUG.fullmatch(meter))
    return {meter: limit for meter, (limit, _) in read if limit is not None}


def amount_of(rule: Limit) -> int | Decimal | None:
    """What a list shows of a limit: what is included, else where it stops; `None` is unlimited."""
    amount: int | Decimal | None = rule.get("hard") if rule.get("included") is None else rule["included"]
    return amount


def problems(metadata: Mapping[str, str]) -> list[str]:
    """Names of limits that cannot be read, wholly or in part."""
    unread = [meter[:NAMED] for meter, value in _written(metadata) if not SLUG.fullmatch(meter) or not _limit(value)[1]]
    return sorted([*unread, *(["limits"] if "limits" in metadata and _json(metadata["limits"]) is None else [])])


def total(parts: Iterable[Part], source: str) -> Limit:
    """The limit of several items of one meter: amounts add up, unlimited wins, of the rest the last one's holds."""
    given = list(parts)
    whole: dict[str, Any] = {}
    for name in _AMOUNTS:
        amounts = [
            _scaled(limit[name], quantity if limit.get("per_seat") else times)
            for limit, quantity, times in given
            if name in limit
        ]
        if amounts:
            whole[name] = None if None in amounts else sum(a for a in amounts if a is not None)
    for limit, *_ in given:
        whole |= {name: limit[name] for name in OTHERS if name in limit}
    return versioned(whole, source)


def versioned(rule: Limit, source: str) -> Limit:
    """With a version that changes exactly when the rule does: thresholds alert once a version."""
    content = json.dumps(rule, sort_keys=True, default=str)
    return {**rule, "source": source, "version": hashlib.sha256(content.encode()).hexdigest()[:8]}


def _scaled(amount: int | Decimal | None, times: int) -> int | Decimal | None:
    return None if amount is None else amount * times


def _written(metadata: Mapping[str, str]) -> list[tuple[str, Any]]:
    together = (_json(metadata["limits"]) or {}) if "limits" in metadata else {}
    named = ((name.removeprefix("limit_"), text) for name, text in metadata.items() if name.startswith("limit_"))
    return sorted({**together, **dict(named)}.items())[:METERS]


def _json(text: Any) -> dict[str, Any] | None:
    """`None` for what is no JSON object, or too long or too deep to be one."""
    if not isinstance(text, str) or len(text) > LONGEST:
        return None
    try:
        value = json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _limit(value: Any) -> tuple[Limit | None, bool]:
    """The limit, and whether all of it could be read."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json(value)
    if isinstance(value, Mapping):
        return _described(value)
    text = value if isinstance(value, str | int) and not isinstance(value, bool) else ""
    amount, per_seat, rest = str(text).strip().lower().partition("/seat")
    number = _amount(amount)
    if rest or (number is None and amount != "unlimited"):
        return None, False
    return {"included": number, **({"per_seat": True} if per_seat else {})}, True


def _described(value: Mapping[str, Any]) -> tuple[Limit | None, bool]:
    """An amount that cannot be read spoils the limit; of the other fields each by itself."""
    amounts: dict[str, int | Decimal | None] = {}
    for name in _AMOUNTS:
        if name in value:
            amounts[name] = None if value[name] in (None, "unlimited") else _amount(value[name])
            if amounts[name] is None and value[name] not in (None, "unlimited"):
                return None, False
    others = {name: value[name] for name, is_one in OTHERS.items() if name in value and is_one(value[name])}
    whole = others.keys() == value.keys() & OTHERS.keys()
    if "thresholds" in others:
        others["thresholds"] = [_amount(part) for part in others["thresholds"]]
    return {**others, **amounts, **({"per_seat": True} if value.get("per_seat") is True else {})}, whole


def _amount(value: Any) -> int | Decimal | None:
    """Bounded before it becomes a number: 1e999999 would take a minute."""
    if not isinstance(value, str | int) or isinstance(value, bool) or (isinstance(value, int) and value >= 10**15):
        return None
    text = str(value).strip().replace("_", "")
    if len(text) > DIGITS or not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if number and (number.adjusted() >= WHOLE_DIGITS or not isinstance(exponent, int) or exponent < -FRACTION_DIGITS):
        return None
    return int(number) if number == number.to_integral_value() else number


def _is_threshold(part: Any) -> bool:
    percent = _amount(part)
    return percent is not None and 0 < percent <= MOST_PERCENT


OTHERS: Mapping[str, Callable[[Any], bool]] = {
    "overage": lambda value: value in ("allow", "block"),
    "grace": lambda value: isinstance(value, str | int) and GRACE.fullmatch(str(value)) is not None,
    "thresholds": lambda value: isinstance(value, list) and 0 < len(value) <= 20 and all(map(_is_threshold, value)),
}
"""The fields of a limit besides its amounts, and what each may be."""

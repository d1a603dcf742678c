"""How values look to people: times with their zone, numbers in groups of three, money in its currency."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup

ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"]
)
"""Currencies whose minor unit is the unit. Source: Stripe's documentation, "Zero-decimal currencies"."""
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
"""Currencies with a thousand minor units. Source: as above, "Three-decimal currencies"."""
NOTHING = "–"
BRIEF = 300  # characters of a value in a table of any content; files have all
ENDLESS = sys.maxsize
_TIMES = ("_at", "_start", "_end")
_YEAR_9999 = 253_370_764_800  # its first second


def time(value: datetime | int | str | None, *, exact: bool = False) -> Markup | str:
    """`29 Nov 2026 05:08:19 UTC` in a `<time>`; a number is Stripe's epoch seconds. `exact` adds milliseconds."""
    moment = moment_of(value)
    if moment is None:
        return NOTHING
    shown = f"{moment:%d %b %Y %H:%M:%S}" + (f".{moment.microsecond // 1000:03}" if exact else "")
    return Markup('<time datetime="{}">{}<span class="zone"> UTC</span></time>').format(moment.isoformat(), shown)


def clock(value: datetime | str | None, *, exact: bool = False) -> Markup | str:
    """`05:08:19 UTC` with the whole date as title; `exact` adds milliseconds."""
    moment = moment_of(value)
    if moment is None:
        return NOTHING
    whole, shown = f"{moment:%d %b %Y %H:%M:%S}", f"{moment:%H:%M:%S}" + (_milliseconds(moment) if exact else "")
    made = Markup('<time datetime="{0}" title="{1} UTC">{2}<span class="zone"> UTC</span></time>')
    return made.format(moment.isoformat(), whole, shown)


def _milliseconds(moment: datetime) -> str:
    return f".{moment.microsecond // 1000:03}"


def day(value: datetime | int | str | None) -> Markup | str:
    """`29 Nov 2026`, with the time in its title."""
    moment = moment_of(value)
    if moment is None:
        return NOTHING
    return Markup('<time datetime="{0}" title="{1} UTC">{2}</time>').format(
        moment.isoformat(), f"{moment:%d %b %Y %H:%M:%S}", f"{moment:%d %b %Y}"
    )


def moment_of(value: Any) -> datetime | None:
    """A time in UTC from what records and rows hold; None of nothing and of what cannot be read."""
    match value:
        case datetime():
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        case int() | Decimal():
            return datetime.fromtimestamp(int(value), UTC)
        case str() if value:
            try:
                return moment_of(datetime.fromisoformat(value))
            except ValueError:
                return None
    return None


def number(value: Any) -> str:
    """With commas, without a fraction of zeros; `–` for nothing."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}".rstrip("0").rstrip(".")
        case Decimal():
            text = f"{value:,f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def money(minor: Any, currency: str | None) -> str:
    """An amount of minor units: `689.00 USD`."""
    if minor is None:
        return NOTHING
    code = (currency or "").lower()
    digits = decimals(code)
    return f"{Decimal(str(minor)).scaleb(-digits):,.{digits}f} {code.upper()}".strip()


def decimals(currency: str) -> int:
    """How many digits an amount of this currency, in lower case, has after the point: 0, 2 or 3."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def span(seconds: float | None) -> str:
    """A length of time, two digits exact: `12 ms`, `1.4 s`, `3 min`, `5 h`, `2 d`."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def cell(value: Any) -> Any:
    """One value of a table of any content."""
    match value:
        case datetime():
            return time(value)
        case date():
            return value.isoformat()
        case bool() | int() | float() | Decimal() | None:
            return number(value)
        case dict() | list():
            return json.dumps(value, default=str)
    return str(value)


def brief(value: Any, most: int = BRIEF) -> Any:
    """As `cell`; of a longer text the first `most` characters, and how long it is."""
    shown = cell(value)
    if isinstance(shown, Markup) or len(shown) <= most:
        return shown
    return f"{shown[:most]} … ({number(len(shown))} characters)"


def of_field(value: Any, name: str, most: int = ENDLESS) -> Any:
    """As `brief`; Stripe's epoch seconds in a field that is called after a time as that time."""
    is_time = name.endswith(_TIMES) and isinstance(value, int | Decimal) and not isinstance(value, bool)
    return time(value) if is_time and 0 < value < _YEAR_9999 else brief(value, most)


def is_number(value: Any) -> bool:
    """What stands to the right of its column."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def pretty(value: Any) -> str:
    """JSON for reading."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False, sort_keys=False)


def words(value: str) -> str:
    """`in_flight` as `in flight`."""
    return str(value).replace("_", " ")


def anchor(value: str) -> str:
    """An id for an element, another one for every text."""
    return f"x{hashlib.sha256(value.encode(errors='replace')).hexdigest()}"


FILTERS = {
    "time": time,
    "clock": clock,
    "day": day,
    "number": number,
    "money": money,
    "span": span,
    "cell": cell,
    "brief": brief,
    "of_field": of_field,
    "pretty": pretty,
    "words": words,
    "anchor": anchor,
}
TESTS = {"numeric": is_number}

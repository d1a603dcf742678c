"""What AWS asks for a request, a unit, a second or a gigabyte: `prices.toml`, and a file of the user's over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any

from nilometer.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """`usd` for `per` of what is counted; `free` of it each month. `source` is the page that says so.

    `monthly` is what no event causes by itself.
    """

    service: str
    usd: Decimal
    per: Decimal
    source: str
    free: Decimal = Decimal(0)
    monthly: bool = False

    def of(self, amount: Decimal) -> Decimal:
        """Dollars for `amount`, without the free part."""
        return amount * self.usd / self.per


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """List prices of one AWS region. `dated` is the day on which they were read; `by_name` as in `prices.toml`."""

    region: str
    dated: str
    by_name: Mapping[str, Price]

    def __getitem__(self, name: str) -> Price:
        return self.by_name[name]

    @property
    def services(self) -> tuple[str, ...]:
        """Those that an event costs something."""
        return tuple(dict.fromkeys(price.service for price in self.by_name.values() if not price.monthly))


def prices(override: Path | None = None) -> Prices:
    """`override` has the shape of `prices.toml` and may hold a part of it; `Misconfigured` says what it got wrong."""
    ours = tomllib.loads((resources.files("nilometer.local.demo") / "prices.toml").read_text(), parse_float=Decimal)
    theirs = _read(override) if override else {}
    if unknown := sorted(theirs.keys() - ours.keys()):
        raise Misconfigured(f"{override}: {', '.join(unknown)} is no price; there are {', '.join(_names(ours))}")
    return Prices(
        region=theirs.get("region", ours["region"]),
        dated=theirs.get("dated", ours["dated"]),
        by_name={name: _price(name, ours[name], theirs.get(name, {}), override) for name in _names(ours)},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(), parse_float=Decimal)
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{path} is no TOML: {error}") from error


def _names(table: Mapping[str, Any]) -> list[str]:
    return [name for name, value in table.items() if isinstance(value, dict)]


def _price(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any], override: Path | None) -> Price:
    try:
        value = {**ours, **({"source": str(override), **theirs} if theirs else {})}
        numbers = {name: Decimal(value.get(name, 0)) for name in ("usd", "per", "free")}
        return Price(**{**value, **numbers})
    except (TypeError, InvalidOperation) as error:
        raise Misconfigured(f"{override}: [{name}] needs usd, per and source, nothing else") from error

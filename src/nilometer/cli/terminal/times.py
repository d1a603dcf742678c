"""Options that take a time: RFC 3339, or a date for its first moment in UTC; or an age, as 90m."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from nilometer.domain.store.times import parse_rfc3339
from nilometer.errors import Rejected


class _Time(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return parse_rfc3339(f"{value}T00:00:00Z" if len(value) == len("2026-11-23") else value)
        except Rejected as error:
            self.fail(str(error), param, ctx)


MOMENT = _Time()
"""Click's type of a moment, or a date for its first moment in UTC."""


def time_option(name: str, *, help: str) -> Callable[[Any], Any]:  # noqa: A002  # click's own word
    """An option that takes a moment, or a date for its first moment in UTC."""
    return click.option(name, type=MOMENT, metavar="TIME", help=f"{help} RFC 3339 or a date.")


class _Age(click.ParamType[timedelta]):
    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
        if not value[:-1].isdecimal() or value[-1] not in units:
            self.fail(f"{value!r} is no age; write 90m, 2h or 3d", param, ctx)
        return timedelta(**{units[value[-1]]: int(value[:-1])})


def age_option(name: str, *, help: str) -> Callable[[Any], Any]:  # noqa: A002  # click's own word
    """An option that takes a length of time."""
    return click.option(name, type=_Age(), metavar="AGE", help=f"{help} 90m, 2h, 3d.")

"""CloudWatch's judgement of an alarm: periods of values, a threshold, so many points of so many periods."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.support.cloudformation import Properties, referred

OURS = "ours"
"""The namespace of the stack's own metrics, whatever the stack's name is."""
NEW = "the newest version"
CHOSEN = {"SilenceHours": 6}  # what somebody asked for; the template's default makes no alarm of it
Period = Mapping["Series", Sequence[float]]
"""What was written in one period, by series."""


class Series(NamedTuple):
    """A metric of CloudWatch. Dimensions have the logical ids of the template for values."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def series(namespace: str, name: str, **dimensions: str) -> Series:
    """One, written shortly."""
    return Series(namespace, name, frozenset(dimensions.items()))


def written(lines: Iterable[Mapping[str, Any]]) -> dict[Series, list[float]]:
    """What log lines say in CloudWatch's embedded metric format."""
    found: dict[Series, list[float]] = {}
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                own = {name: NEW if name == "version" else str(line[name]) for name in names}
                for one in directive["Metrics"]:
                    found.setdefault(series(OURS, one["Name"], **own), []).append(float(line[one["Name"]]))
    return found


def looked_at(alarm: Properties) -> Series:
    """The series of an alarm on one metric, or of one metric of an expression."""
    namespace = alarm["Namespace"] if isinstance(alarm["Namespace"], str) else OURS
    dimensions = {one["Name"]: _named(one["Name"], one["Value"]) for one in alarm.get("Dimensions", ())}
    return series(namespace, alarm["MetricName"], **dimensions)


def goes_off(alarm: Properties, periods: Sequence[Period]) -> bool:
    """Whether it does at the end of the last of `periods`, each as long as the alarm's own."""
    of, points = _number(alarm["EvaluationPeriods"]), _number(alarm["DatapointsToAlarm"])
    last = [*[{}] * of, *periods][-of:]
    return sum(_is_breaching(alarm, _value(alarm, period)) for period in last) >= points


def _is_breaching(alarm: Properties, value: float | None) -> bool:
    if value is None:
        return bool(alarm["TreatMissingData"] == "breaching")
    if alarm["ComparisonOperator"] == "LessThanThreshold":
        return bool(value < alarm["Threshold"])
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return bool(value > alarm["Threshold"])


def _value(alarm: Properties, period: Period) -> float | None:
    if "Metrics" not in alarm:
        statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
        return _statistic(statistic, period.get(looked_at(alarm), ()))
    values = {
        one["Id"]: _statistic(one["MetricStat"]["Stat"], period.get(looked_at(one["MetricStat"]["Metric"]), ()))
        for one in alarm["Metrics"]
        if "MetricStat" in one
    }
    [expression] = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
    return _judged(expression, values)


def _statistic(name: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    if name.startswith("p"):
        return sorted(values)[math.ceil(len(values) * float(name[1:]) / 100) - 1]
    return {"Sum": math.fsum, "Maximum": max}[name](values)


def _judged(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Of metric math what the template uses: a series without a value, unless it is filled, has no result."""
    if expression == "SUM(METRICS())":
        there = [value for value in values.values() if value is not None]
        return math.fsum(there) if there else None
    filled = set(re.findall(r"FILL\((\w+)", expression))
    if any(value is None for name, value in values.items() if name not in filled):
        return None
    python = re.sub(r"\bAND\b", "and", expression)
    functions = {
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
        "FILL": lambda value, filler: filler if value is None else value,
    }
    return float(eval(python, {"__builtins__": {}}, {**functions, **values}))  # noqa: S307  # an expression of ours


def _named(name: str, value: Any) -> str:
    if name in {"version", "ExecutedVersion"}:
        return NEW
    if isinstance(value, Mapping) and "Fn::Sub" in value:
        return str(value["Fn::Sub"])
    return str(value) if isinstance(value, str) else referred(value)


def _number(value: Any) -> int:
    """Of a parameter what was chosen, of an `!If` the second: upkeep by the hour."""
    if isinstance(value, Mapping):
        return CHOSEN[value["Ref"]] if "Ref" in value else _number(value["Fn::If"][2])
    return int(value)

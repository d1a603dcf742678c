"""What template.yaml makes of a stage: how many of each thing that AWS asks for by the month."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from nilometer.errors import Misconfigured
from nilometer.local.plane.deploy import template


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`schedules` are calls a month by the name of the schedule; `memory` of functions in MB."""

    alarm_metrics: int
    dashboard_metrics: int
    secrets: int
    queues: int
    schedules: Mapping[str, int]
    targets: Mapping[str, str]
    memory: Mapping[str, int]
    archive_days: int
    recovery: bool
    window_seconds: int


STAGES: Mapping[str, Mapping[str, str]] = {
    "dev": {
        "Stage": "dev",
        "Monitoring": "none",
        "ArchiveDays": "0",
        "LakeWindow": "60",
        "Upkeep": "daily",
        "LakeQueues": "one",
        "Datasets": "false",
    },
    "small": {
        "Stage": "prod",
        "Monitoring": "lean",
        "LakeWindow": "300",
        "Upkeep": "daily",
        "LakeQueues": "one",
        "Datasets": "false",
    },
    "staging": {"Stage": "staging"},
    "prod": {"Stage": "prod", "Canary": "true"},
}
"""Parameters of the stages of samconfig.toml, by its environments; `small` is production of a small company."""

MINUTES = 43_830
"""Of a month, 365.25 / 12 days."""


def stage(parameters: Mapping[str, str]) -> Stage:
    """`parameters` over the template's defaults; `Misconfigured` for one that it has not."""
    body = yaml.load(template(), Loader=_Loader)  # noqa: S506  # a SafeLoader with the tags
    known = {name: str(one.get("Default", "")) for name, one in body["Parameters"].items()}
    if unknown := sorted(parameters.keys() - known.keys()):
        raise Misconfigured(f"{', '.join(unknown)} is no parameter of template.yaml; one of {', '.join(sorted(known))}")
    given = _Given({**known, **parameters}, body["Conditions"])
    made = {name: one for name, one in body["Resources"].items() if given.holds(one.get("Condition"))}
    return _stage(made, given, body["Globals"]["Function"]["MemorySize"])


@dataclass(frozen=True, slots=True)
class _Given:
    """Parameters, and the conditions over them."""

    parameters: Mapping[str, str]
    conditions: Mapping[str, Any]

    def holds(self, condition: str | None) -> bool:
        return condition is None or self._true(self.conditions[condition])

    def value(self, value: Any) -> Any:
        """Of a parameter or an `!If`; anything else as it is."""
        match value:
            case {"Ref": name} if name in self.parameters:
                return self.parameters[name]
            case {"If": [condition, then, otherwise]}:
                return self.value(then if self.holds(condition) else otherwise)
        return value

    def _true(self, expression: Any) -> bool:
        match expression:
            case {"Condition": name}:
                return self.holds(name)
            case {"Not": [one]}:
                return not self._true(one)
            case {"And": all_}:
                return all(map(self._true, all_))
            case {"Or": any_}:
                return any(map(self._true, any_))
            case {"Equals": [one, other]}:
                return str(self.value(one)) == str(self.value(other))
        raise Misconfigured(f"template.yaml has a condition that cannot be read here: {expression}")


def _stage(made: Mapping[str, Any], given: _Given, memory: int) -> Stage:
    def of(kind: str) -> dict[str, Any]:
        return {name: one.get("Properties", {}) for name, one in made.items() if one["Type"] == kind}

    mappings = [one for one in of("AWS::Lambda::EventSourceMapping").values() if "ScalingConfig" in one]
    schedules = of("AWS::Scheduler::Schedule")
    tables = of("AWS::DynamoDB::Table").values()
    recovery = (one["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] for one in tables)
    windows = [int(given.value(one["MaximumBatchingWindowInSeconds"])) for one in mappings]
    return Stage(
        alarm_metrics=sum(map(_metrics, of("AWS::CloudWatch::Alarm").values())),
        dashboard_metrics=sum(map(_shown, of("AWS::CloudWatch::Dashboard").values())),
        secrets=len(of("AWS::SecretsManager::Secret")),
        queues=sum(str(given.value(one["Enabled"])).lower() == "true" for one in mappings),
        schedules={name: calls(given.value(one["ScheduleExpression"])) for name, one in schedules.items()},
        targets={name: one["Target"]["Arn"]["Ref"].removesuffix(".Alias") for name, one in schedules.items()},
        memory={name: one.get("MemorySize", memory) for name, one in of("AWS::Serverless::Function").items()},
        archive_days=int(given.parameters["ArchiveDays"]) if "BusArchive" in made else 0,
        recovery=any(str(given.value(one)).lower() == "true" for one in recovery),
        window_seconds=max(windows),
    )


def _metrics(alarm: Mapping[str, Any]) -> int:
    """Each metric of an expression is asked for as an alarm's own."""
    return sum("MetricStat" in metric for metric in alarm["Metrics"]) if "Metrics" in alarm else 1


def _shown(dashboard: Mapping[str, Any]) -> int:
    return sum(len(one["properties"]["metrics"]) for one in json.loads(dashboard["DashboardBody"]["Sub"])["widgets"])


def calls(expression: str) -> int:
    """How often a schedule calls in a month: a rate, a minute of every hour, or of some hours of every day."""
    if found := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        return MINUTES // (int(found[1]) * {"minute": 1, "hour": 60, "day": 1440}[found[2]])
    if re.fullmatch(r"cron\(\d+ \* \* \* \? \*\)", expression):
        return MINUTES // 60
    if found := re.fullmatch(r"cron\(\d+ (\d+)(?:-(\d+))? \* \* \? \*\)", expression):
        return MINUTES // 1440 * (int(found[2] or found[1]) - int(found[1]) + 1)
    raise Misconfigured(f"how often {expression} calls is not known; say it in local/demo/stage.py")


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms as `{"Ref": ...}`."""


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    match node:
        case yaml.ScalarNode():
            return {suffix: loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {suffix: loader.construct_sequence(node, deep=True)}
        case _:
            return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]  # the third kind


_Loader.add_multi_constructor("!", _tagged)

"""What template.yaml says of queues and streams: the simulation runs by these numbers and by no others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from tests.support.project import ROOT

UNBOUNDED = 1_000  # for ever, as a run knows it


@dataclass(frozen=True)
class QueueSource:
    """A queue and its function. Seconds; `receives` until a message is a dead letter."""

    batch: int
    window: int
    visibility: int
    receives: int
    concurrency: int


@dataclass(frozen=True)
class StreamSource:
    """A stream and its function. Seconds."""

    table: str
    batch: int
    window: int
    retries: int
    age: int
    bisects: bool
    parallel: int


@cache
def queues() -> dict[str, QueueSource]:
    """By the name of the flow: `Usage` of `UsageMapping`."""
    found = {}
    for name, mapping in _of("AWS::Lambda::EventSourceMapping").items():
        queue = _of("AWS::SQS::Queue").get(_referred(mapping["EventSourceArn"]))
        if queue:
            found[name.removesuffix("Mapping")] = QueueSource(
                batch=mapping["BatchSize"],
                window=_number(mapping["MaximumBatchingWindowInSeconds"]),
                visibility=queue["VisibilityTimeout"],
                receives=queue["RedrivePolicy"]["maxReceiveCount"],
                concurrency=mapping["ScalingConfig"]["MaximumConcurrency"],
            )
    return found


@cache
def streams() -> dict[str, StreamSource]:
    """By the name of the mapping: `RecordsStream` of `RecordsStreamMapping`."""
    return {
        name.removesuffix("Mapping"): StreamSource(
            table=_referred(mapping["EventSourceArn"]),
            batch=mapping["BatchSize"],
            window=_number(mapping["MaximumBatchingWindowInSeconds"]),
            retries=mapping["MaximumRetryAttempts"] if mapping["MaximumRetryAttempts"] >= 0 else UNBOUNDED,
            age=mapping["MaximumRecordAgeInSeconds"],
            bisects=mapping["BisectBatchOnFunctionError"],
            parallel=mapping.get("ParallelizationFactor", 1),
        )
        for name, mapping in _of("AWS::Lambda::EventSourceMapping").items()
        if _referred(mapping["EventSourceArn"]) in _of("AWS::DynamoDB::Table")
    }


@cache
def timeouts() -> dict[str, int]:
    """Seconds that a call of a function may take, by its name without `Function`."""
    otherwise = _template()["Globals"]["Function"]["Timeout"]
    functions = _of("AWS::Serverless::Function").items()
    return {name.removesuffix("Function"): _number(one.get("Timeout", otherwise)) for name, one in functions}


def receives(queue: str) -> int:
    return queues()[queue].receives


@cache
def _of(resource_type: str) -> dict[str, Any]:
    resources = _template()["Resources"].items()
    return {name: one["Properties"] for name, one in resources if one["Type"] == resource_type}


@cache
def _template() -> Any:
    return yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)  # noqa: S506  # a safe loader


class _Loader(yaml.CSafeLoader):
    """Tags of CloudFormation stay as what stands under them."""


def _tagged(loader: Any, _suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else loader.construct_mapping(node)


_Loader.add_multi_constructor("!", _tagged)


def _referred(value: str) -> str:
    return value.partition(".")[0]


def _number(value: Any) -> int:
    """Of `!If [OnAws, 20, 1]` what holds on AWS; of a parameter its default."""
    chosen = value[1] if isinstance(value, list) else value
    return int(_template()["Parameters"][chosen]["Default"] if chosen in _template()["Parameters"] else chosen)

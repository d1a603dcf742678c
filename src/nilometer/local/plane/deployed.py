"""What one CloudFormation stack deployed: functions, event source mappings, routes, schedules, queues.

Read through AWS's APIs, so the runner runs what the template says and nothing else. Whether a mapping
or a schedule is enabled is ignored: the template disables them on one machine, where this runner
takes the place of Lambda's pollers and of the scheduler.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nilometer.errors import Misconfigured
from nilometer.local.plane.filters import check


class Clients(Protocol):
    """Builds a boto3 client of a service."""

    def __call__(self, service: str) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`timeout` in seconds, `memory` in MB."""

    name: str
    arn: str
    handler: str
    timeout: int
    memory: int
    environment: Mapping[str, str]
    log_format: str = "Text"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedQueue:
    """A queue as SQS describes it. `visibility_timeout` in seconds."""

    name: str
    arn: str
    url: str
    visibility_timeout: int
    redrive_to: str | None  # the ARN of its dead-letter queue


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMapping:
    """`window` in seconds. `concurrency` is None where the template sets no MaximumConcurrency."""

    uuid: str
    function: str
    queue: DeployedQueue
    batch_size: int
    window: float
    filters: tuple[Mapping[str, Any], ...]
    partial: bool
    concurrency: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMapping:
    """`retries` and `maximum_age` (seconds) are None where there is no bound."""

    uuid: str
    function: str
    function_arn: str
    stream_arn: str
    starting_position: str
    batch_size: int
    window: float
    filters: tuple[Mapping[str, Any], ...]
    partial: bool
    bisect: bool
    retries: int | None
    maximum_age: int | None
    failure_bucket: str | None

    @property
    def table(self) -> str:
        """The name in `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`."""
        return self.stream_arn.split("/")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`key` is API Gateway's: `POST /path/{name}`, `ANY /{proxy+}` or `$default`."""

    key: str
    function: str
    api: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`input` is the JSON that the function gets."""

    name: str
    arn: str
    expression: str
    timezone: str
    function: str
    input: str
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What runs and what invokes it, as the engine describes it after a deployment. `functions` by name."""

    functions: Mapping[str, Function]
    queues: tuple[DeployedQueue, ...]
    dead_letters: frozenset[str]  # names
    queue_mappings: tuple[QueueMapping, ...]
    stream_mappings: tuple[StreamMapping, ...]
    routes: tuple[Route, ...]
    schedules: tuple[Schedule, ...]


def read(client: Clients, *, stack_name: str) -> Deployment:
    """Raises `Misconfigured` when a source names a function that the stack lacks, or a filter cannot be kept."""
    stack = _resources(client("cloudformation"), stack_name)
    functions = _functions(client("lambda"), stack["AWS::Lambda::Function"])
    queues = tuple(_queues(client("sqs"), stack["AWS::SQS::Queue"]))
    by_arn = {queue.arn: queue for queue in queues}
    mappings = _mappings(client("lambda"), stack["AWS::Lambda::EventSourceMapping"])
    schedules = [_schedule(client("scheduler"), name) for name in stack["AWS::Scheduler::Schedule"]]
    deployment = Deployment(
        functions=functions,
        queues=queues,
        dead_letters=_dead_letters(queues, _targets(client, stack["AWS::Events::Rule"]) + [t for _, t in schedules]),
        queue_mappings=tuple(
            _queue_mapping(m, by_arn[m["EventSourceArn"]]) for m in mappings if ":sqs:" in m["EventSourceArn"]
        ),
        stream_mappings=tuple(_stream_mapping(m) for m in mappings if ":dynamodb:" in m["EventSourceArn"]),
        routes=tuple(_routes(client("apigatewayv2"), stack["AWS::ApiGatewayV2::Api"])),
        schedules=tuple(schedule for schedule, _ in schedules if schedule.function),
    )
    _check(deployment)
    return deployment


def _check(deployment: Deployment) -> None:
    sources: list[QueueMapping | StreamMapping | Route | Schedule] = [
        *deployment.queue_mappings,
        *deployment.stream_mappings,
        *deployment.routes,
        *deployment.schedules,
    ]
    for source in sources:
        if source.function not in deployment.functions:
            raise Misconfigured(f"the stack has no function {source.function}; deploy it again")


def _resources(cloudformation: Any, stack_name: str) -> defaultdict[str, list[str]]:
    """Physical ids by resource type."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name):
        for resource in page["StackResourceSummaries"]:
            found[resource["ResourceType"]].append(resource["PhysicalResourceId"])
    return found


def _functions(lambda_: Any, names: Sequence[str]) -> dict[str, Function]:
    wanted = set(names)
    pages = lambda_.get_paginator("list_functions").paginate()
    listed = [function for page in pages for function in page["Functions"]]
    return {f["FunctionName"]: _function(f) for f in listed if f["FunctionName"] in wanted}


def _function(function: Mapping[str, Any]) -> Function:
    return Function(
        name=function["FunctionName"],
        arn=function["FunctionArn"],
        handler=function["Handler"],
        timeout=function.get("Timeout", 3),
        memory=function.get("MemorySize", 128),
        environment=function.get("Environment", {}).get("Variables", {}),
        log_format=function.get("LoggingConfig", {}).get("LogFormat", "Text"),
    )


def _queues(sqs: Any, urls: Sequence[str]) -> Iterator[DeployedQueue]:
    for url in urls:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
        yield DeployedQueue(
            name=url.rsplit("/", 1)[1],
            arn=attributes["QueueArn"],
            url=url,
            visibility_timeout=int(attributes.get("VisibilityTimeout", 30)),
            redrive_to=redrive.get("deadLetterTargetArn"),
        )


def _mappings(lambda_: Any, uuids: Sequence[str]) -> list[dict[str, Any]]:
    wanted = set(uuids)
    pages = lambda_.get_paginator("list_event_source_mappings").paginate()
    return [m for page in pages for m in page["EventSourceMappings"] if m["UUID"] in wanted]


def _queue_mapping(mapping: Mapping[str, Any], queue: DeployedQueue) -> QueueMapping:
    return QueueMapping(
        uuid=mapping["UUID"],
        function=_name(mapping["FunctionArn"]),
        queue=queue,
        batch_size=mapping.get("BatchSize", 10),
        window=mapping.get("MaximumBatchingWindowInSeconds", 0),
        filters=_patterns(mapping),
        partial=_partial(mapping),
        concurrency=mapping.get("ScalingConfig", {}).get("MaximumConcurrency"),
    )


def _stream_mapping(mapping: Mapping[str, Any]) -> StreamMapping:
    destination = mapping.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", "")
    return StreamMapping(
        uuid=mapping["UUID"],
        function=_name(mapping["FunctionArn"]),
        function_arn=mapping["FunctionArn"],
        stream_arn=mapping["EventSourceArn"],
        starting_position=mapping.get("StartingPosition", "LATEST"),
        batch_size=mapping.get("BatchSize", 100),
        window=mapping.get("MaximumBatchingWindowInSeconds", 0),
        filters=_patterns(mapping),
        partial=_partial(mapping),
        bisect=bool(mapping.get("BisectBatchOnFunctionError")),
        retries=_bound(mapping.get("MaximumRetryAttempts")),
        maximum_age=_bound(mapping.get("MaximumRecordAgeInSeconds")),
        failure_bucket=destination.rsplit(":", 1)[1] if ":s3:" in destination else None,
    )


def _bound(value: int | None) -> int | None:
    """-1 is Lambda's word for no bound."""
    return None if value is None or value < 0 else value


def _partial(mapping: Mapping[str, Any]) -> bool:
    return "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", ())


def _patterns(mapping: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    filters = (mapping.get("FilterCriteria") or {}).get("Filters", ())
    patterns = tuple(json.loads(f["Pattern"]) for f in filters)
    for pattern in patterns:
        check(pattern)
    return patterns


def logical(name: str) -> str:
    """`BillingQueue` of `nilometer-BillingQueue-1A2B3C`; a stack's own name may hold dashes."""
    return name.split("-")[-2] if name.count("-") >= 2 else name


def _name(function_arn: str) -> str:
    """`arn:aws:lambda:REGION:ACCOUNT:function:NAME`, with or without a qualifier."""
    parts = function_arn.split(":")
    return parts[6] if len(parts) > 6 else ""


def _routes(apigateway: Any, apis: Sequence[str]) -> Iterator[Route]:
    for api in apis:
        functions = {
            f"integrations/{integration['IntegrationId']}": _integrated(integration.get("IntegrationUri", ""))
            for integration in _items(apigateway, "get_integrations", api)
        }
        for route in _items(apigateway, "get_routes", api):
            yield Route(key=route["RouteKey"], function=functions[route["Target"]], api=api)


def _items(apigateway: Any, operation: str, api: str) -> list[dict[str, Any]]:
    return [item for page in apigateway.get_paginator(operation).paginate(ApiId=api) for item in page["Items"]]


def _integrated(uri: str) -> str:
    """From a function's ARN, or from API Gateway's invocation URI around it."""
    if "/functions/" in uri:
        uri = uri.split("/functions/", 1)[1].removesuffix("/invocations")
    return _name(uri)


def _schedule(scheduler: Any, physical_id: str) -> tuple[Schedule, Mapping[str, Any]]:
    """The schedule and its target."""
    group, _, name = physical_id.rsplit("schedule/", maxsplit=1)[-1].rpartition("/")
    found = scheduler.get_schedule(Name=name, **({"GroupName": group} if group else {}))
    target = found["Target"]
    schedule = Schedule(
        name=name,
        arn=found["Arn"],
        expression=found["ScheduleExpression"],
        timezone=found.get("ScheduleExpressionTimezone", "UTC"),
        function=_name(target["Arn"]) if ":function:" in target["Arn"] else "",
        input=target.get("Input", "{}"),
        retries=target.get("RetryPolicy", {}).get("MaximumRetryAttempts", 185),
    )
    return schedule, target


def _targets(client: Clients, rules: Sequence[str]) -> list[Mapping[str, Any]]:
    """The targets of rules, whose physical id is `bus|rule` or, on the default bus, the rule's name."""
    events = client("events")
    found: list[Mapping[str, Any]] = []
    for physical_id in rules:
        bus, _, rule = physical_id.rpartition("|")
        found += events.list_targets_by_rule(Rule=rule, EventBusName=bus or "default")["Targets"]
    return found


def _dead_letters(queues: Sequence[DeployedQueue], targets: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Queues to which another queue redrives, or a rule or schedule sends what it could not deliver."""
    arns = {queue.redrive_to for queue in queues}
    arns |= {target.get("DeadLetterConfig", {}).get("Arn") for target in targets}
    return frozenset(queue.name for queue in queues if queue.arn in arns)

"""Small stacks of real functions: a handler module in `tmp_path`, a CloudFormation stack, a runner on it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from nilometer.local.engine import Engine
from nilometer.local.runner import Runner
from nilometer.local.status import Status

ROLE = "arn:aws:iam::000000000000:role/any"


@dataclass
class Stack:
    """A deployed stack whose handlers live in `code`; `say` lines that they wrote are read with `said`."""

    engine: Engine
    name: str
    code: Path
    data: Path
    runners: list[Runner] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return boto3.session.Session().client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.engine.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def runner(self, **options: Any) -> Runner:
        """A started runner with quick retries."""
        extra = {"PYTHONPATH": str(self.code), "SAID": str(self.code / "said")}
        options = {"retry_seconds": 0.0, "port": 0, "data": self.data, **options}
        runner = Runner(
            endpoint_url=self.engine.endpoint_url,
            environment=self.engine.environment,
            stack_name=self.name,
            extra_environment=extra,
            **options,
        )
        self.runners.append(runner)
        runner.start()
        return runner

    def killable(self) -> subprocess.Popen[bytes]:
        """A runner in a process of its own, until it is killed."""
        variables = {"PYTHONPATH": str(self.code), "SAID": str(self.code / "said")}
        arguments = {
            "endpoint_url": self.engine.endpoint_url,
            "environment": self.engine.environment,
            "stack_name": self.name,
            "port": 0,
            "extra_environment": variables,
        }
        script = f"""
            import time
            from pathlib import Path
            from nilometer.local.runner import Runner
            runner = Runner(data=Path({str(self.data)!r}), **{arguments!r})
            runner.start()
            time.sleep(600)
        """
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])

    def output(self, name: str) -> str:
        described = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        return str(next(o["OutputValue"] for o in described["Outputs"] if o["OutputKey"] == name))

    def said(self) -> list[Any]:
        path = self.code / "said"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @staticmethod
    def await_idle(runner: Runner, seconds: float = 30) -> Status:
        return until(lambda: (status := runner.status()).idle and status, seconds)

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
        return until(condition, seconds)

    def send(self, *bodies: str, queue: str = "QueueUrl") -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies[start : start + 10])]
            self.client("sqs").send_message_batch(QueueUrl=self.output(queue), Entries=entries)

    def put(self, *items: Mapping[str, Any]) -> None:
        client, table = self.client("dynamodb"), self.output("TableName")
        for item in items:
            client.put_item(TableName=table, Item=dict(item))


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


Deploy = Callable[..., Stack]

PRELUDE = """
import json, os, sys, time

def say(value):
    with open(os.environ["SAID"], "a") as file:
        file.write(json.dumps(value) + "\\n")

"""


@pytest.fixture
def deploy(aws: Engine, tmp_path: Path) -> Iterator[Deploy]:
    """Deploys a handler and its sources: `queue` and `stream` are properties of their event source mappings."""
    stacks: list[Stack] = []

    def deployed(handler: str, *, timeout: int = 10, **sources: Any) -> Stack:
        name = f"test-{uuid.uuid4().hex[:10]}"
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "subject.py").write_text(PRELUDE + textwrap.dedent(handler))
        stack = Stack(aws, name, tmp_path / "code", tmp_path / "data")
        upload(stack)
        template = json.dumps(template_of(name, timeout=timeout, **sources))
        stack.client("cloudformation").create_stack(StackName=name, TemplateBody=template)
        stack.client("cloudformation").get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )
        stacks.append(stack)
        return stack

    yield deployed
    for stack in stacks:
        for runner in stack.runners:
            runner.stop()
        with suppress(Exception):
            stack.client("cloudformation").delete_stack(StackName=stack.name)


def upload(stack: Stack) -> None:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=stack.name)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("subject.py", "")
    s3.put_object(Bucket=stack.name, Key="code.zip", Body=content.getvalue())


def template_of(
    name: str,
    *,
    timeout: int,
    queue: Mapping[str, Any] | None = None,
    stream: Mapping[str, Any] | None = None,
    routes: tuple[str, ...] = (),
    schedule: str | None = None,
    redrive: int = 0,
    environment: Mapping[str, str] | None = None,
    stream_view: str = "NEW_AND_OLD_IMAGES",
) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Handler": "subject.handler",
                "Runtime": "python3.13",
                "Role": ROLE,
                "Timeout": timeout,
                "MemorySize": 256,
                "Code": {"S3Bucket": name, "S3Key": "code.zip"},
                "Environment": {"Variables": {"BUCKET": name, **(environment or {})}},
            },
        }
    }
    outputs: dict[str, Any] = {"FunctionName": {"Value": {"Ref": "Function"}}}
    if queue is not None:
        resources |= queue_resources(queue, redrive)
        outputs |= {"QueueUrl": {"Value": {"Ref": "Queue"}}, "DeadUrl": {"Value": {"Ref": "DeadLetters"}}}
    if stream is not None:
        resources |= stream_resources(name, stream, stream_view)
        outputs["TableName"] = {"Value": {"Ref": "Table"}}
    if routes:
        resources |= route_resources(routes)
    if schedule:
        resources["Schedule"] = {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "ScheduleExpression": schedule,
                "State": "DISABLED",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": {"Fn::GetAtt": ["Function", "Arn"]}, "RoleArn": ROLE, "Input": '{"due": true}'},
            },
        }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources, "Outputs": outputs}


def queue_resources(mapping: Mapping[str, Any], redrive: int) -> dict[str, Any]:
    dead = {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}, "maxReceiveCount": redrive}
    return {
        "DeadLetters": {"Type": "AWS::SQS::Queue", "Properties": {}},
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"VisibilityTimeout": 120, **({"RedrivePolicy": dead} if redrive else {})},
        },
        "QueueMapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "Enabled": False,
                "FunctionName": {"Ref": "Function"},
                "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                **mapping,
            },
        },
    }


def stream_resources(bucket: str, mapping: Mapping[str, Any], view: str) -> dict[str, Any]:
    return {
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                "StreamSpecification": {"StreamViewType": view},
            },
        },
        "StreamMapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "Enabled": False,
                "FunctionName": {"Ref": "Function"},
                "EventSourceArn": {"Fn::GetAtt": ["Table", "StreamArn"]},
                "StartingPosition": "TRIM_HORIZON",
                "DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
                **mapping,
            },
        },
    }


def route_resources(routes: tuple[str, ...]) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": "test", "ProtocolType": "HTTP"}},
        "Integration": {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": "Api"},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {"Fn::GetAtt": ["Function", "Arn"]},
                "PayloadFormatVersion": "2.0",
            },
        },
    }
    for index, route in enumerate(routes):
        target = {"Fn::Sub": "integrations/${Integration}"}
        properties = {"ApiId": {"Ref": "Api"}, "RouteKey": route, "Target": target}
        resources[f"Route{index}"] = {"Type": "AWS::ApiGatewayV2::Route", "Properties": properties}
    return resources

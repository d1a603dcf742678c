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
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from nilometer.local.plane.engine import Engine
from nilometer.local.stack.runner import Runner
from nilometer.local.stack.status import Status

CREDENTIALS = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}
ROLE = "arn:aws:iam::000000000000:role/any"


@cache
def client(endpoint_url: str, service: str) -> Any:
    return boto3.session.Session().client(  # type: ignore[call-overload]
        service,
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@dataclass
class Stack:
    """A deployed stack whose handlers live in `code`; `say` lines that they wrote are read with `said`."""

    endpoint_url: str
    name: str
    code: Path
    data: Path
    runners: list[Runner] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return client(self.endpoint_url, service)

    @property
    def arguments(self) -> dict[str, Any]:
        """Of a runner on this stack."""
        return {
            "endpoint_url": self.endpoint_url,
            "environment": {"AWS_ENDPOINT_URL": self.endpoint_url, **CREDENTIALS},
            "stack_name": self.name,
            "port": 0,
            "extra_environment": {"PYTHONPATH": str(self.code), "SAID": str(self.code / "said")},
        }

    def runner(self, *, environment: Mapping[str, str] | None = None, **options: Any) -> Runner:
        """A started runner with quick retries."""
        arguments = self.arguments | {"retry_seconds": 0.0, "data": self.data} | options
        arguments["extra_environment"] |= environment or {}
        runner = Runner(**arguments)
        self.runners.append(runner)
        runner.start()
        return runner

    def handle(self, handler: str) -> None:
        """The function's code from the next worker on; it may `say` things, which `said` reads."""
        (self.code / "subject.py").write_text(PRELUDE + textwrap.dedent(handler))

    def killable(self) -> subprocess.Popen[bytes]:
        """A runner in a process of its own, until it is killed."""
        script = f"""
            import time
            from pathlib import Path
            from nilometer.local.stack.runner import Runner
            runner = Runner(data=Path({str(self.data)!r}), **{self.arguments!r})
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
    def await_idle(runner: Runner, seconds: float = 90) -> Status:
        return until(lambda: (status := runner.status()).idle and status, seconds)

    @staticmethod
    def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
        return until(condition, seconds)

    def send(self, *bodies: str, queue: str = "QueueUrl") -> None:
        url = self.output(queue)
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies[start : start + 10])]
            self.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)

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
def deploy_at(tmp_path: Path) -> Iterator[Deploy]:
    """Deploys a handler and its sources into an engine; `queue` and `stream` are properties of their mappings."""
    stacks: list[Stack] = []

    def deployed(endpoint_url: str, handler: str, *, timeout: int = 10, **sources: Any) -> Stack:
        stack = Stack(endpoint_url, f"test-{uuid.uuid4().hex[:10]}", tmp_path / "code", tmp_path / "data")
        stacks.append(stack)
        stack.code.mkdir(exist_ok=True)
        stack.handle(handler)
        upload(stack)
        cloudformation = stack.client("cloudformation")
        template = json.dumps(template_of(stack.name, timeout=timeout, **sources))
        cloudformation.create_stack(StackName=stack.name, TemplateBody=template)
        created = cloudformation.get_waiter("stack_create_complete")
        created.wait(StackName=stack.name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
        return stack

    yield deployed
    for stack in stacks:
        for runner in stack.runners:
            runner.stop()


@pytest.fixture
def deploy(aws: Engine, deploy_at: Deploy) -> Deploy:
    """As `deploy_at`, into the engine of the session."""
    return partial(deploy_at, aws.endpoint_url)


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

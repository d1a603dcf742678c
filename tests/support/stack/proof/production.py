"""An engine that is not ours, in which roles count, and stacks that `sam deploy` makes there.

MiniStack takes SAM and CloudFormation, lets a function do what its role allows and no more (`AUTH`), and runs Python
without Docker, here the functions' own. docs/deploy.md lists what it cannot do.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from nilometer.domain.stripe.signature import sign
from nilometer.lake.read.query import query
from nilometer.lake.tables.storage import storage_options
from nilometer.local.plane.engine import free_port

SECRET = "whsec_of_the_proof_of_deployment"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
LAKE_QUEUES = ("LakeStripeEventsQueue", "LakeUsageQueue", "LakeAuditQueue")
QUEUES = ("Queue", "DeadLetters")  # what the names of queues end with
SECRET_READERS = {
    "StripeSigningSecrets": ("Webhook",),
    "StripeApiKey": ("Reconcile",),
    "AuditKey": ("Changes", "Lake", "Console"),
    "ConsoleKey": ("Console",),
}
ADMINISTRATOR = {**CREDENTIALS, "AWS_DEFAULT_REGION": "us-east-1"}
PACKING = {"PYTHONPATH": str(Path(__file__).with_name("packing")), "SAM_CLI_POLL_DELAY": "0.5"}  # of `sam`


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """The deployed stack; `ids` are physical ones by logical one. Without `endpoint_url` it is in a real account.

    `asked` are the requests of its clients by service; `lake` are questions to the lake, each of some requests.
    """

    endpoint_url: str | None
    ids: dict[str, str]
    statuses: dict[str, str]
    asked: Counter[str] = field(default_factory=Counter)

    def client(self, service: str) -> Any:
        made = client(self.endpoint_url, service)
        made.meta.events.register("before-call", lambda **_: self.asked.update([service]))
        return made

    def post(self, body: bytes, *, secret: str) -> tuple[int, dict[str, Any]]:
        """To the API, by the host name that the engine gives it."""
        host = urlsplit(self.client("apigatewayv2").get_api(ApiId=self.ids["Api"])["ApiEndpoint"]).netloc
        signature = sign(body, secret=secret, timestamp=int(time.time()))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, timeout=120)
        if self.endpoint_url:
            connection = http.client.HTTPConnection(self.endpoint_url.removeprefix("http://"), timeout=120)
        connection.request("POST", "/webhooks/stripe", body, {"Host": host, "Stripe-Signature": signature})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def publish(self, event: dict[str, Any]) -> None:
        """As an internal service does."""
        entry = {"EventBusName": self.ids["Bus"], "Source": "services.proof", "DetailType": event["type"]}
        answer = self.client("events").put_events(Entries=[{**entry, "Detail": json.dumps(event)}])
        assert answer["FailedEntryCount"] == 0

    def rows(self, sql: str, *datasets: str) -> list[tuple[Any, ...]]:
        """Of the lake, as an administrator."""
        engine = {**ADMINISTRATOR, "AWS_ENDPOINT_URL": self.endpoint_url} if self.endpoint_url else os.environ
        options = storage_options(engine)
        self.asked["lake"] += 1
        lake_uri = f"s3://{self.ids['LakeBucket']}/lake"
        return list(query(sql, lake_uri=lake_uri, storage_options=options, datasets=datasets).rows)

    def logged(self, function: str) -> str:
        """All that a function has written."""
        group = {"logGroupName": self.ids[function.replace("Function", "Logs")]}
        pages = self.client("logs").get_paginator("filter_log_events").paginate(**group)
        return "\n".join(event["message"] for page in pages for event in page["events"])


def client(endpoint_url: str | None, service: str) -> Any:
    """Of an engine, or of the account whose credentials the environment has."""
    if not endpoint_url:
        return boto3.client(service, region_name=os.environ.get("AWS_REGION"))
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=ADMINISTRATOR["AWS_DEFAULT_REGION"],
        aws_access_key_id=ADMINISTRATOR["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"],
    )


def until(condition: Callable[[], Any], *, seconds: float = 300, pause: float = 0.5) -> Any:
    """What `condition` answers once it is true; `pause` is between two questions, which an account bills.

    A message whose first try failed comes again after the 190 s of its queue's visibility timeout: `seconds` are more.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {said(condition)}: {answer!r:.500}"
        time.sleep(pause)
    return answer


def said(condition: Callable[[], Any]) -> str:
    """The lines that ask for it, with the values that they name."""
    try:
        lines = inspect.getsource(condition).strip()
    except (OSError, TypeError):  # typed in a shell, or no function
        lines = repr(condition)
    values = inspect.getclosurevars(condition).nonlocals if inspect.isfunction(condition) else {}
    return f"{lines} with {values!r:.500}" if values else lines


def accepted(production: Production, function: str) -> set[str]:
    """The ids of the events that a flow's lines call accepted."""
    return concluded(production, function, "accepted")


def concluded(production: Production, function: str, outcome: str) -> set[str]:
    """The ids of the events that a flow's lines call that."""
    lines = production.logged(function).splitlines()
    named = [line for line in lines if f".{outcome}" in line and '"event_id"' in line]
    return {json.loads(line[line.index("{") :])["event_id"] for line in named}


@contextlib.contextmanager
def enforcing_engine(folder: Path) -> Iterator[str]:
    """The URL of an engine in which roles count, with nothing in it."""
    python = Path(sys.prefix, "engine/bin/python")
    if not python.exists():
        pytest.skip("the engine for what was built is not installed; `make test` does it where Python 3.13 is")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "AUTH": "true",
        **ADMINISTRATOR,
    }
    whole_logs = Path(__file__).with_name("whole_logs.py")
    guarded = [sys.executable, "-P", "-m", "nilometer.local.plane.guard", str(python), "-P", str(whole_logs)]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: answers(port), seconds=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def standing(stack: str) -> Production:
    """What is there by that name, as it is: in the account of the environment, or its `AWS_ENDPOINT_URL`."""
    return _found(os.environ.get("AWS_ENDPOINT_URL"), stack)


def deployed(endpoint_url: str, stack: str, *, secret: str | None = SECRET) -> Production:
    """What is there by that name, ready for a webhook signed with `secret`; None leaves what is stored."""
    found = _found(endpoint_url, stack)
    if secret:
        arn = found.ids["StripeSigningSecrets"]
        found.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=secret)
    fill_gaps(found)
    return found


def _found(endpoint_url: str | None, stack: str) -> Production:
    pages = client(endpoint_url, "cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return Production(
        endpoint_url=endpoint_url,
        ids={r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources},
        statuses={r["LogicalResourceId"]: r["ResourceStatus"] for r in resources},
    )


def deploy(
    endpoint_url: str, built: Path, sam: Path, project: Path, parameters: Mapping[str, str], *options: str
) -> None:
    """A template as it was built, by samconfig.toml."""
    files = ["--template-file", str(built / "template.yaml"), "--config-file", str(project / "samconfig.toml")]
    given = [f"{name}={value}" for name, value in parameters.items()]
    done = subprocess.run(
        [str(sam), "deploy", *files, *options, "--no-progressbar", "--parameter-overrides", *given],
        cwd=project,
        env={
            **os.environ,
            **ADMINISTRATOR,
            "AWS_ENDPOINT_URL": endpoint_url,
            **PACKING,
            "SAM_CLI_TELEMETRY": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def fill_gaps(deployed: Production) -> None:
    """What the engine judges otherwise than AWS; each has its line in docs/deploy.md."""
    secrets = {name: secret_arn(deployed, name) for name in SECRET_READERS if name in deployed.ids}
    bus = deployed.client("events").describe_event_bus(Name=deployed.ids["Bus"])["Arn"]
    # It takes `!Ref` of a secret for its name, and no role may read that.
    for name, arn in secrets.items():
        for flow in SECRET_READERS[name]:
            if f"{flow}Role" in deployed.ids:
                allow(deployed, flow, "secretsmanager:GetSecretValue", arn, name=f"read-{name}")
    # It does not know the condition events:source.
    for flow in ("Api", "Webhook", "Changes"):
        allow(deployed, flow, "events:PutEvents", bus)
    # It names a log group without the `:*` that is a part of its ARN.
    if "ConsoleRole" in deployed.ids:
        groups = deployed.client("logs").describe_log_groups()["logGroups"]
        allow(deployed, "Console", "logs:FilterLogEvents", *(one["arn"].removesuffix(":*") for one in groups))
    # For AWS the batch is an sqs:SendMessage too.
    allow(deployed, "Changes", "sqs:SendMessageBatch", *(queue_arn(deployed, name) for name in LAKE_QUEUES))
    if "ConsoleRole" in deployed.ids:
        queues = {kind: [queue_arn(deployed, name) for name in deployed.ids if name.endswith(kind)] for kind in QUEUES}
        allow(deployed, "Console", "sqs:SendMessageBatch", *queues["Queue"])
        allow(deployed, "Console", "sqs:DeleteMessageBatch", *queues["DeadLetters"])
        allow(deployed, "Console", "sqs:ChangeMessageVisibilityBatch", *queues["DeadLetters"])
    # It speaks plain HTTP, which the bucket rightly refuses.
    deployed.client("s3").delete_bucket_policy(Bucket=deployed.ids["LakeBucket"])


def secret_arn(deployed: Production, name: str) -> str:
    return str(deployed.client("secretsmanager").describe_secret(SecretId=deployed.ids[name])["ARN"])


def queue_arn(deployed: Production, name: str) -> str:
    queue = {"QueueUrl": deployed.ids[name], "AttributeNames": ["QueueArn"]}
    return str(deployed.client("sqs").get_queue_attributes(**queue)["Attributes"]["QueueArn"])


def allow(deployed: Production, flow: str, action: str, *resources: str, name: str = "") -> None:
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources)}
    if f"{flow}Role" not in deployed.ids:
        return  # of a release that had no such function
    deployed.client("iam").put_role_policy(
        RoleName=deployed.ids[f"{flow}Role"],
        PolicyName=name or action.replace(":", "-"),
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


if __name__ == "__main__":  # in the middle of the guide, between its blocks
    deployed(sys.argv[1], sys.argv[2], secret=None)

"""What was built, deployed by `sam deploy` as production, and at work: on an engine that is not ours.

MiniStack takes SAM and CloudFormation, lets a function do what its role allows and no more (`AUTH`), and runs Python
without Docker, here the functions' own. docs/deploy.md lists what it cannot do.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.support.cloudformation import Template
from tests.support.project import HERE, Build

from nilometer.domain.store.times import rfc3339
from nilometer.domain.stripe.signature import sign
from nilometer.lake.read.query import query
from nilometer.lake.tables.storage import storage_options
from nilometer.local.plane.engine import free_port
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld

STACK = "nilometer-prod"
SECRET = "whsec_of_the_proof_of_deployment"
ADMINISTRATOR = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
# As production, but for what the engine has not: archives, CodeDeploy and alarms over several metrics.
PARAMETERS = {
    "Stage": "prod",
    "Architecture": HERE,
    "AlarmEmail": "operator@example.com",
    "StripePartnerEventSource": "aws.partner/stripe.com/ed_test_proof",
    "ArchiveDays": "0",
    "Canary": "false",
    "RatioAlarms": "false",
}
# Conditions; silence and the budget are asked for by whoever wants them.
LEFT_OUT = {
    "HasArchive",
    "HasPartnerArchive",
    "HasCanary",
    "HasRatios",
    "HasDetailedRatios",
    "HasSilence",
    "HasBudget",
    "IsLean",
}

# The first test may wait for a build and for the deployment.
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """The deployed stack; `ids` are physical ones by logical one."""

    endpoint_url: str
    ids: dict[str, str]
    statuses: dict[str, str]

    def client(self, service: str) -> Any:
        return client(self.endpoint_url, service)

    def post(self, body: bytes, *, secret: str) -> tuple[int, dict[str, Any]]:
        """To the API, by the host name that the engine gives it."""
        host = self.client("apigatewayv2").get_api(ApiId=self.ids["Api"])["ApiEndpoint"].removeprefix("http://")
        signature = sign(body, secret=secret, timestamp=int(time.time()))
        connection = http.client.HTTPConnection(self.endpoint_url.removeprefix("http://"), timeout=60)
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
        options = storage_options({**ADMINISTRATOR, "AWS_ENDPOINT_URL": self.endpoint_url})
        lake_uri = f"s3://{self.ids['LakeBucket']}/lake"
        return list(query(sql, lake_uri=lake_uri, storage_options=options, datasets=datasets).rows)

    def logged(self, function: str) -> str:
        """All that a function has written."""
        group = {"logGroupName": self.ids[function.replace("Function", "Logs")]}
        pages = self.client("logs").get_paginator("filter_log_events").paginate(**group)
        return "\n".join(event["message"] for page in pages for event in page["events"])


def client(endpoint_url: str, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=ADMINISTRATOR["AWS_DEFAULT_REGION"],
        aws_access_key_id=ADMINISTRATOR["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ADMINISTRATOR["AWS_SECRET_ACCESS_KEY"],
    )


def until(condition: Callable[[], Any], *, seconds: float = 120) -> Any:
    """What `condition` answers once it is true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return answer


def accepted(production: Production, function: str) -> set[str]:
    """The ids of the events that a flow's lines call accepted."""
    lines = [line for line in production.logged(function).splitlines() if ".accepted" in line and '"event_id"' in line]
    return {json.loads(line[line.index("{") :])["event_id"] for line in lines}


@pytest.fixture(scope="module")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine in which roles count."""
    python = Path(sys.prefix, "engine/bin/python")
    if not python.exists():
        pytest.skip("the engine for what was built is not installed; `make test` does it where Python 3.13 is")
    folder = tmp_path_factory.mktemp("production")
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
    guarded = [sys.executable, "-P", "-m", "nilometer.local.plane.guard", str(python), "-P", "-m", "ministack"]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: answers(port), seconds=30)
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


@pytest.fixture(scope="module")
def production(endpoint_url: str, build: Build, sam: Path, project: Path) -> Production:
    """`sam deploy`, then the signing secret, as docs/deploy.md says."""
    deploy(endpoint_url, build(HERE), sam, project)
    pages = client(endpoint_url, "cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    deployed = Production(
        endpoint_url=endpoint_url,
        ids={r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources},
        statuses={r["LogicalResourceId"]: r["ResourceStatus"] for r in resources},
    )
    secret = {"SecretId": deployed.ids["StripeSigningSecrets"], "SecretString": SECRET}
    deployed.client("secretsmanager").put_secret_value(**secret)
    fill_gaps(deployed)
    return deployed


def deploy(endpoint_url: str, built: Path, sam: Path, project: Path) -> None:
    """With the template as it was built, and production's part of samconfig.toml."""
    files = ["--template-file", str(built / "template.yaml"), "--config-file", str(project / "samconfig.toml")]
    options = ["--config-env", "prod", "--no-confirm-changeset", "--no-progressbar"]
    parameters = [f"{name}={value}" for name, value in PARAMETERS.items()]
    done = subprocess.run(
        [str(sam), "deploy", *files, *options, "--parameter-overrides", *parameters],
        cwd=project,
        env={**os.environ, **ADMINISTRATOR, "AWS_ENDPOINT_URL": endpoint_url, "SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def fill_gaps(deployed: Production) -> None:
    """What the engine judges otherwise than AWS; each has its line in docs/deploy.md."""
    arn = deployed.client("secretsmanager").describe_secret(SecretId=deployed.ids["StripeSigningSecrets"])["ARN"]
    key_arn = deployed.client("secretsmanager").describe_secret(SecretId=deployed.ids["StripeApiKey"])["ARN"]
    bus = deployed.client("events").describe_event_bus(Name=deployed.ids["Bus"])["Arn"]
    queues = [queue_arn(deployed, name) for name in ("LakeStripeEventsQueue", "LakeUsageQueue")]
    # It takes `!Ref` of a secret for its name, and no role may read that.
    allow(deployed, "Webhook", "secretsmanager:GetSecretValue", arn)
    allow(deployed, "Reconcile", "secretsmanager:GetSecretValue", key_arn)
    audit_arn = deployed.client("secretsmanager").describe_secret(SecretId=deployed.ids["AuditKey"])["ARN"]
    allow(deployed, "Changes", "secretsmanager:GetSecretValue", audit_arn)
    allow(deployed, "Lake", "secretsmanager:GetSecretValue", audit_arn)
    # It does not know the condition events:source.
    allow(deployed, "Webhook", "events:PutEvents", bus)
    allow(deployed, "Changes", "events:PutEvents", bus)
    # For AWS the batch is an sqs:SendMessage too.
    allow(deployed, "Changes", "sqs:SendMessageBatch", *queues)
    # It speaks plain HTTP, which the bucket rightly refuses.
    deployed.client("s3").delete_bucket_policy(Bucket=deployed.ids["LakeBucket"])


def queue_arn(deployed: Production, name: str) -> str:
    queue = {"QueueUrl": deployed.ids[name], "AttributeNames": ["QueueArn"]}
    return str(deployed.client("sqs").get_queue_attributes(**queue)["Attributes"]["QueueArn"])


def allow(deployed: Production, flow: str, action: str, *resources: str) -> None:
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources)}
    deployed.client("iam").put_role_policy(
        RoleName=deployed.ids[f"{flow}Role"],
        PolicyName=action.replace(":", "-"),
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def test_every_resource_of_production_is_made(production: Production, template: Template) -> None:
    """But for those that the parameters leave out."""
    expected = {name for name, resource in template.resources.items() if resource.get("Condition") not in LEFT_OUT}

    assert expected <= production.statuses.keys()
    assert set(production.statuses.values()) == {"CREATE_COMPLETE"}


def test_a_signed_webhook_is_a_row_of_the_lake(production: Production, samples: dict[str, Any]) -> None:
    """Through API, alias, bus, queue, tables, streams and lake, each function with its own artifact and role."""
    event = samples["stripe/customer.subscription.created.json"]

    status, answer = production.post(json.dumps(event).encode(), secret=SECRET)

    assert (status, answer) == (200, {"received": event["id"]})
    found = "select event_id from stripe_events"
    assert until(lambda: production.rows(found)) == [(event["id"],)]
    changed = "select distinct kind from audit where kind in ('billing', 'register')"
    assert until(lambda: len(production.rows(changed)) == 2)
    hops = ("WebhookFunction", "BillingFunction", "ChangesFunction", "LimitsFunction", "LakeFunction")
    assert [hop for hop in hops if event["id"] not in production.logged(hop)] == []


def test_usage_is_a_row_of_the_lake(production: Production, samples: dict[str, Any]) -> None:
    """A workspace and a meter by the operations flow, an event by the usage flow."""
    now = rfc3339(datetime.now(UTC))
    meter = samples["operations/meter.created.v1.json"]["detail"]
    usage = samples["usage/usage.recorded.v1.json"]["detail"]
    data = {**usage["data"], "meter": meter["data"]["meter"], "unit": meter["data"]["unit"]}

    workspace = samples["operations/workspace.created.v1.json"]["detail"]
    production.publish({**workspace, "subject": usage["subject"], "time": now})
    production.publish({**meter, "id": "of_the_meter", "time": now})
    until(lambda: {workspace["id"], "of_the_meter"} <= accepted(production, "OperationsFunction"))
    production.publish({**usage, "time": now, "data": data})

    assert until(lambda: production.rows("select event_id from usage")) == [(usage["id"],)]
    hops = ("UsageFunction", "ChangesFunction", "LakeFunction")
    assert [hop for hop in hops if usage["id"] not in production.logged(hop)] == []


def test_batches_of_an_internal_service_are_rows_of_its_dataset(
    production: Production, samples: dict[str, Any]
) -> None:
    """Inline and from the landing prefix, once it is declared; an object that is not there is known not to be."""
    now = rfc3339(datetime.now(UTC))
    declared, inline, landed = (
        {**samples[f"{path}.json"]["detail"], "time": now}
        for path in (
            "operations/dataset.declared.v1",
            "datasets/dataset.batch_ready.v1.inline",
            "datasets/dataset.batch_ready.v1",
        )
    )
    reference = landed["data"]["object"]
    row = b'{"contact_id": "1", "updated_at": "2026-11-23T04:00:00Z"}'
    put = production.client("s3").put_object(Bucket=production.ids["LakeBucket"], Key=reference["key"], Body=row)
    found = {**reference, "etag": put["ETag"].strip('"'), "size": len(row)}
    missing = {**reference, "key": "landing/nowhere"}

    production.publish(declared)
    until(lambda: declared["id"] in production.logged("OperationsFunction"))
    production.publish(inline)
    production.publish({**landed, "data": {**landed["data"], "object": found}})
    production.publish({**landed, "id": "missing", "data": {**landed["data"], "object": missing}})

    until(lambda: production.logged("DatasetsFunction").count("datasets.accepted") == 2)
    until(lambda: "object_missing" in production.logged("DatasetsFunction"))
    rows = production.rows("select contact_id, batch_id from datasets.crm_contacts order by 1", "crm_contacts")
    assert rows == [("1", landed["id"]), ("812", inline["id"])]


def test_a_signing_secret_counts_no_usage(production: Production, samples: dict[str, Any]) -> None:
    """A webhook whose type is one of our own reaches billing alone, and is a fact without an effect there."""
    usage = samples["usage/usage.recorded.v1.json"]["detail"]
    subscription = samples["stripe/customer.subscription.created.json"]
    forged = {**subscription, **usage, "id": "evt_forged_usage", "data": {**subscription["data"], **usage["data"]}}

    status, _ = production.post(json.dumps(forged).encode(), secret=SECRET)

    assert status == 200
    until(lambda: "evt_forged_usage" in production.logged("BillingFunction"))
    assert "evt_forged_usage" not in production.logged("UsageFunction")
    assert production.rows("select count(*) from usage where event_id = 'evt_forged_usage'") == [(0,)]


def test_a_forged_webhook_is_refused(production: Production) -> None:
    """By the function, not by the engine."""
    status, answer = production.post(b"{}", secret="whsec_of_somebody_else")

    assert (status, answer["error"]) == (400, "invalid_signature")


def test_the_http_api_refuses_an_unknown_key(production: Production) -> None:
    """By the function, which looked for it in the table under its own role."""
    host = production.client("apigatewayv2").get_api(ApiId=production.ids["Api"])["ApiEndpoint"].removeprefix("http://")
    connection = http.client.HTTPConnection(production.endpoint_url.removeprefix("http://"), timeout=60)
    head = {"Host": host, "Authorization": "Bearer nil_key_01M8K0000000000000000000AB_none"}

    connection.request("GET", "/v1/workspaces/ws_1/members", headers=head)

    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (401, 401)


@pytest.mark.parametrize("function", ["Limits", "Maintenance", "Redrive", "Usage"])
def test_what_a_schedule_calls_does_its_work(production: Production, function: str) -> None:
    """By the alias, as the scheduler does."""
    invoke(production, f"{production.ids[f'{function}Function']}:live", {})


def invoke(production: Production, name: str, event: dict[str, str]) -> dict[str, Any]:
    answer = production.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
    content = answer["Payload"].read()
    assert "FunctionError" not in answer, content
    result: dict[str, Any] = json.loads(content)
    return result


@pytest.fixture
def stripe(production: Production) -> Iterator[StripeWorld]:
    """A Stripe of our own that the function asks, with a key; the function's code, role and settings stay."""
    production.client("secretsmanager").put_secret_value(
        SecretId=production.ids["StripeApiKey"], SecretString="sk_test_of_the_proof"
    )
    name, world = production.ids["ReconcileFunction"], StripeWorld(datetime.now(UTC).replace(microsecond=0), seed=1)
    functions = production.client("lambda")
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    with serve(world) as (url, _):
        asking = {**variables, "STRIPE_API_BASE": url}
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": asking})
        yield world
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def test_reconcile_repairs_what_no_event_told(production: Production, stripe: StripeWorld) -> None:
    """A subscription to a price that nobody knew: asked for and merged, under the role that the template gives."""
    price = stripe.price(stripe.product("Pro", {"plan": "pro"}), 4900)
    subscription = stripe.subscribe(stripe.customer("ws_unheard"), [(price, 1)])
    stripe.advance(timedelta(minutes=1))

    report = invoke(production, production.ids["ReconcileFunction"], {"do": "reconcile"})
    again = invoke(production, production.ids["ReconcileFunction"], {"do": "reconcile"})
    for task in ("refetch", "meter"):
        invoke(production, production.ids["ReconcileFunction"], {"do": task})

    assert report["drift"] > 0
    assert not report["stopped"]
    assert again["drift"] == 0
    logged = production.logged("ReconcileFunction")
    assert "reconcile.drift" in logged
    assert subscription in logged
    assert price in logged


def test_every_function_may_do_what_it_does(production: Production, template: Template) -> None:
    """Nobody was refused anything by IAM, and everybody has worked."""
    logs = {name: production.logged(name) for name in template.functions}

    assert [name for name, text in logs.items() if "REPORT RequestId" not in text] == []
    assert {name: text for name, text in logs.items() if "AccessDenied" in text or "not authorized" in text} == {}

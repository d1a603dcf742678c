"""What was built, deployed by `sam deploy` as production, and at work: on an engine that is not ours."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.routing import Route
from tests.support.cloudformation import Template
from tests.support.project import HERE, Build
from tests.support.stack.conformance import CHECKS, Api, over_http
from tests.support.stack.issuer import Issuer, issuing
from tests.support.stack.proof.production import (
    ADMINISTRATOR,
    SECRET,
    Production,
    accepted,
    concluded,
    deploy,
    deployed,
    enforcing_engine,
    until,
)
from tests.support.stack.proof.prove import prove
from tests.support.stack.visit import Reply, Visit

from nilometer.aws.dynamodb import Store
from nilometer.console.app import application
from nilometer.console.http.visitor import ClaimsGate
from nilometer.domain.store.times import rfc3339
from nilometer.local.demo.stage import stage
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld

STACK = "nilometer-prod"
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
AUDIENCE = "nilometer"
ADMIN = {"sub": "ada", "aud": AUDIENCE, "nilometer_role": "Admin"}
# Conditions; silence, the budget and webhooks are asked for by whoever wants them.
LEFT_OUT = {
    "HasArchive",
    "HasPartnerArchive",
    "HasCanary",
    "HasRatios",
    "HasDetailedRatios",
    "HasSilence",
    "HasBudget",
    "HasCatalog",
    "HasEmail",
    "HasWebhooks",
    "HasWebhooksDetail",
    "SendsWebhooksAlarms",
    "IsLean",
}

# The first test may wait for a build and for the deployment.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Who issues the tokens of people."""
    with issuing() as made:
        yield made


@pytest.fixture(scope="module")
def production(
    build: Build, sam: Path, project: Path, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """`sam deploy` with production's part of samconfig.toml, then the signing secret, as docs/deploy.md says."""
    parameters = {**PARAMETERS, "ConsoleIssuer": issuer.url, "ConsoleAudience": AUDIENCE}
    with enforcing_engine(tmp_path_factory.mktemp("production")) as endpoint_url:
        deploy(endpoint_url, build(HERE), sam, project, parameters, "--config-env", "prod", "--no-confirm-changeset")
        yield deployed(endpoint_url, STACK)


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
    assert until(lambda: all(event["id"] in production.logged(hop) for hop in hops))


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
    assert until(lambda: all(usage["id"] in production.logged(hop) for hop in hops))


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

    until(lambda: production.logged("DatasetsFunction").count("datasets.accepted") >= 2)
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
    connection = http.client.HTTPConnection(production.endpoint_url.removeprefix("http://"), timeout=120)
    head = {"Host": host, "Authorization": "Bearer nil_key_01M8K0000000000000000000AB_none"}

    connection.request("GET", "/v1/workspaces/ws_1/members", headers=head)

    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (401, 401)


def looked(production: Production, path: str, token: str = "", form: str | None = None) -> tuple[int, str]:
    """What the console answers to the holder of a token."""
    found = production.client("apigatewayv2").get_api(ApiId=production.ids["ConsoleApi"])
    head = {"Host": found["ApiEndpoint"].removeprefix("http://")}
    head |= {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection(production.endpoint_url.removeprefix("http://"), timeout=120)
    connection.request("GET" if form is None else "POST", path, form, head)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_console_opens_for_a_signed_token_alone(production: Production, issuer: Issuer) -> None:
    """Without one, forged, expired, for somebody else: refused by API Gateway; without a role: by the function."""
    analyst = {"sub": "ann", "aud": AUDIENCE, "nilometer_role": "Analyst"}

    assert looked(production, "/workspaces")[0] == 401
    with issuing() as stranger:
        forged = stranger.token({**analyst, "iss": issuer.url})
    assert looked(production, "/workspaces", forged)[0] == 401
    assert looked(production, "/workspaces", issuer.token({**analyst, "exp": int(time.time()) - 1}))[0] == 401
    assert looked(production, "/workspaces", issuer.token({**analyst, "aud": "another"}))[0] == 401
    status, text = looked(production, "/workspaces", issuer.token({"sub": "ann", "aud": AUDIENCE}))
    assert (status, "names no role" in text) == (401, True)
    assert looked(production, "/static/console.css")[0] == 200
    assert looked(production, "/portal?token=x")[0] == 403


def test_an_expired_token_opens_no_route(production: Production, issuer: Issuer) -> None:
    """Whatever the application has, also for an Admin whose token was good a second ago."""
    expired = issuer.token({**ADMIN, "exp": int(time.time()) - 1})
    routes = application(SimpleNamespace(feed=None), gate=ClaimsGate()).routes  # type: ignore[arg-type]  # not asked
    for route in routes:
        if isinstance(route, Route) and route.path != "/portal":
            form = "id=x" if "POST" in (route.methods or ()) else None
            path = route.path_format.format(workspace_id="ws_1", part="mrr")
            assert looked(production, path, expired, form)[0] == 401, path


def test_a_role_sees_its_pages_of_production(production: Production, issuer: Issuer, samples: dict[str, Any]) -> None:
    """Tables, lake, logs, queues and schedules under the function's own role; actions for an Admin alone."""
    viewer, analyst, admin = (
        issuer.token({"sub": "ann", "aud": AUDIENCE, "nilometer_role": role}) for role in ("Viewer", "Analyst", "Admin")
    )
    event = samples["stripe/customer.subscription.created.json"]
    assert production.post(json.dumps(event).encode(), secret=SECRET)[0] == 200
    until(lambda: production.rows("select event_id from stripe_events"))

    assert looked(production, "/workspaces", viewer)[0] == 200
    assert looked(production, "/events", viewer)[0] == 403
    for path in ("/events", "/events/lake", f"/event?name={event['id']}", "/events/stream?since=0"):
        status, text = looked(production, path, analyst)
        assert (status, event["id"] in text) == (200, True), path
    for path in ("/money", "/money/mrr", "/operations", "/operations/letters", "/operations/rejects"):
        assert looked(production, path, analyst)[0] == 200, path
    assert "ReconcileFunction" in looked(production, "/operations/schedules", analyst)[1]
    assert ">1<" in looked(production, "/sql?q=select+min(1)+from+stripe_events", analyst)[1]
    assert looked(production, "/rejects/resend", admin, "id=x")[0] == 403  # no page of the console sent it


@dataclass
class ConsoleVisit(Visit):
    """A browser behind a proxy that adds the token of a person."""

    token: str = ""
    host: str = ""

    def _asked(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Reply:
        told = {**headers, "host": self.host, "authorization": f"Bearer {self.token}"}
        return super()._asked(method, path, body, told)

    def acts(self, path: str, **form: str) -> str:
        """What the page says that it did. A letter that somebody looks at is there again in a moment."""
        until(lambda: self.post(path, form).status == 303, seconds=60)
        return re.findall(r'<p class="note good" role="status">(.+?)</p>', self.get("/sql").text)[0]


@pytest.fixture
def admin(production: Production, issuer: Issuer) -> ConsoleVisit:
    """An Admin of the whole stack."""
    host = production.client("apigatewayv2").get_api(ApiId=production.ids["ConsoleApi"])["ApiEndpoint"]
    return ConsoleVisit(production.endpoint_url, token=issuer.token(ADMIN), host=host.removeprefix("http://"))


@pytest.fixture
def usage(production: Production, samples: dict[str, Any]) -> dict[str, Any]:
    """A usage event that counts at once: its workspace and its meter are known."""
    now, sample = rfc3339(datetime.now(UTC)), samples["usage/usage.recorded.v1.json"]["detail"]
    created = {name: samples[f"operations/{name}.created.v1.json"]["detail"] for name in ("workspace", "meter")}
    created["workspace"] = {**created["workspace"], "subject": "ws_acted"}
    for name, event in created.items():
        production.publish({**event, "id": f"{name}_acted", "time": now})
    until(lambda: {"workspace_acted", "meter_acted"} <= accepted(production, "OperationsFunction"))
    meter = created["meter"]["data"]
    data = {**sample["data"], "meter": meter["meter"], "unit": meter["unit"]}
    return {**sample, "subject": "ws_acted", "time": now, "data": data}


def test_an_admin_acts_on_production(production: Production, admin: ConsoleVisit, usage: dict[str, Any]) -> None:
    """Under the function's own role: a dead letter is sent back and counts, another is deleted, a reject is sent again
    and dismissed, usage is replayed and counts once; what was done is said. No sample is sent to production."""

    def letter(event_id: str) -> str:
        event = {**usage, "id": event_id}
        body = {"id": event_id, "detail-type": event["type"], "source": "x", "time": event["time"], "detail": event}
        queue = {"QueueUrl": production.ids["UsageDeadLetters"], "MessageBody": json.dumps(body)}
        sent = production.client("sqs").send_message(**queue)
        until(lambda: event_id in admin.get("/operations/letters").text)
        return str(sent["MessageId"])

    def counted() -> list[tuple[Any, ...]]:
        return production.rows("select event_id from usage where workspace_id = 'ws_acted'")

    assert admin.acts("/letters/redrive", queue="UsageDeadLetters", id=letter("redriven")) == "sent back"
    assert admin.acts("/letters/purge", queue="UsageDeadLetters", id=letter("purged")) == "deleted"
    until(lambda: counted() == [("redriven",)])
    assert "in 1 event<" in admin.get("/workspaces/ws_acted").text

    assert admin.acts("/events/replay", id="redriven", source=usage["source"]) == "redriven published again"
    until(lambda: "redriven" in concluded(production, "UsageFunction", "duplicate"))

    production.publish({**usage, "id": "refused", "data": {**usage["data"], "unit": "camel"}})
    rejects = until(lambda: (page := admin.get("/operations/rejects").text) and "ws_acted refused" in page and page)
    [row] = [row for row in rejects.split("<tr") if "ws_acted refused" in row]
    reject = re.findall(r'name="id" value="([^"]+)"', row)[0]
    assert admin.acts("/rejects/resend", id=reject) == "usage reject of ws_acted refused resent"
    until(lambda: production.logged("UsageFunction").count('"refused"') >= 2)
    until(lambda: "ws_acted refused" in admin.get("/operations/rejects").text)
    assert admin.acts("/rejects/dismiss", id=reject) == "usage reject of ws_acted refused dismissed"
    assert "ws_acted refused" not in admin.get("/operations/rejects").text

    assert counted() == [("redriven",)]
    assert admin.post("/events/trigger", {"type": "customer.created"}).status == 404


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


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_every_route_of_the_api_keeps(production: Production, check: Callable[[Api, Any], None]) -> None:
    """Each check of the suite on each route, under the function's own role."""
    host = production.client("apigatewayv2").get_api(ApiId=production.ids["Api"])["ApiEndpoint"].removeprefix("http://")
    names = {"records": production.ids["RecordsTable"], "events": production.ids["EventsTable"]}
    api = over_http(production.endpoint_url, Store(production.client("dynamodb"), **names), host=host)

    for route in CHECKS[check]:
        check(api, route)


def test_a_standing_stack_is_proved_by_its_name(
    production: Production, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make prove STACK=nilometer-prod`, with a shell's environment: on an engine here, on an account otherwise."""
    shell = {**ADMINISTRATOR, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": production.endpoint_url}
    for name, value in shell.items():
        monkeypatch.setenv(name, str(value))

    failed = prove(STACK)

    said = capsys.readouterr().out
    assert failed == 0, said
    assert said.count("holds") == 12
    assert "0 of them fail; it cost at most $0.0" in said


def test_the_console_of_a_machine_bills_the_stack_that_stands(production: Production) -> None:
    """`nilometer console --stack nilometer-prod` counts at the parameters of the deployment."""
    asked = f"""if True:
        import json
        from nilometer.cli.console.wiring import costly
        from nilometer.cli.terminal.connection import on_aws
        print(json.dumps(dict(costly(on_aws("{STACK}")))))"""
    shell = {**os.environ, **ADMINISTRATOR, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": production.endpoint_url}

    told = json.loads(
        subprocess.run([sys.executable, "-c", asked], env=shell, stdout=subprocess.PIPE, check=True).stdout
    )

    assert {"Stage": "prod", "ArchiveDays": "0", "RatioAlarms": "false"}.items() <= told.items()
    assert stage(told).archive_days == 0
    assert "ConsoleIssuer" not in told


def test_every_function_may_do_what_it_does(production: Production, template: Template) -> None:
    """Nobody was refused anything by IAM, and everybody has worked."""
    made = {name for name, one in template.resources.items() if one.get("Condition") not in LEFT_OUT}
    logs = {name: production.logged(name) for name in template.functions.keys() & made}

    assert [name for name, text in logs.items() if "REPORT RequestId" not in text] == []
    assert {name: text for name, text in logs.items() if "AccessDenied" in text or "not authorized" in text} == {}

"""Each alarm goes off by its own fault: what a fault makes our functions, or AWS, write is judged as CloudWatch does.

Our own numbers come from the lines of the real handlers, at work on real tables while something is wrong. What AWS
counts of a queue, a function or a stream is written down here as its documents say.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from tests.support.cloudformation import Properties, Template, referred
from tests.support.flows.billing_play import play
from tests.support.flows.company import company
from tests.support.flows.limits import look
from tests.support.flows.operations import NOW
from tests.support.flows.usage import WORKSPACE, cloud, handle, prepare
from tests.support.project import EVENTS
from tests.support.stack.alarming import NEW, OURS, Period, Series, goes_off, series, written

from nilometer import UpdateMeter, operator, perform
from nilometer.aws import clients
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.billing.record.fold import record_item
from nilometer.domain.billing.record.inputs import Inputs, with_views
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Put, Table
from nilometer.domain.stripe.event import Scope
from nilometer.domain.stripe.signature import sign
from nilometer.local.plane.engine import Engine
from nilometer.local.stripe.server import serve
from nilometer.local.stripe.world import StripeWorld
from nilometer.stripe_api.client import StripeApi

SECRET = "whsec_of_the_faults"
CLOSED = "http://127.0.0.1:9"
HOURS = 49  # after which everything that was compared has not been for 48


class Patience:
    """Lambda's context, with so many seconds left."""

    def __init__(self, seconds: float = 900) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


@pytest.fixture
def place(aws: Engine, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> FaultyPlace:
    """Tables, bucket, bus, queues and secrets as the template gives them to the functions, by their environment."""
    clients.client.cache_clear()
    return FaultyPlace(store, monkeypatch, caplog)


class FaultyPlace:
    """Where functions work while something is wrong."""

    def __init__(self, store: Store, patch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.store, self._patch, self._caplog = store, patch, caplog
        self.name = uuid.uuid4().hex[:10]
        self.objects = Objects(boto3.client("s3"), bucket=self.name)
        boto3.client("s3").create_bucket(Bucket=self.name)
        self.secrets = boto3.client("secretsmanager")
        for name, value in self._environment().items():
            patch.setenv(name, value)

    def _environment(self) -> dict[str, str]:
        boto3.client("events").create_event_bus(Name=self.name)
        sqs, bucket = boto3.client("sqs"), self.name
        self.dead, queue = (sqs.create_queue(QueueName=f"{self.name}-{one}")["QueueUrl"] for one in ("dead", "source"))
        return {
            "RECORDS_TABLE": self.store._names[Table.RECORDS],
            "EVENTS_TABLE": self.store._names[Table.EVENTS],
            "LAKE_BUCKET": bucket,
            "LAKE_URI": f"s3://{bucket}/lake",
            "BUS_NAME": self.name,
            "BILLING_SCOPES": "self/live self/test",
            "CHANGES_ON_BUS": "all",
            "DEAD_LETTERS": f"{self.dead} BillingDeadLetters,{self.name}-dead,{self.name}-source",
            "STRIPE_SECRET_ARN": self.secret(SECRET),
            "STRIPE_API_KEY_ARN": self.secret("unset"),
            "AUDIT_KEY_ARN": self.secret("k" * 64),
            **dict.fromkeys(("LAKE_STRIPE_EVENTS_QUEUE_URL", "LAKE_USAGE_QUEUE_URL", "LAKE_AUDIT_QUEUE_URL"), queue),
        }

    def secret(self, text: str) -> str:
        return str(self.secrets.create_secret(Name=uuid.uuid4().hex, SecretString=text)["ARN"])

    def set(self, name: str, value: str) -> None:
        self._patch.setenv(name, value)

    def later(self, hours: int) -> None:
        """The clock of reconcile is so far on."""
        now = datetime.now(UTC) + timedelta(hours=hours)
        self._patch.setattr("nilometer.lambdas.reconcile.datetime", SimpleNamespace(now=lambda _zone: now))

    def call(self, function: str, event: Mapping[str, Any], *, seconds: float = 900) -> Any:
        """The handler, as Lambda calls it, in a new process."""
        module = import_module(f"nilometer.lambdas.{function}")
        for name in ("_dependencies", "_known"):
            getattr(module, name, SimpleNamespace(cache_clear=lambda: None)).cache_clear()
        return module.handler(event, Patience(seconds))

    def deliver(self, function: str, *bodies: str) -> None:
        """A batch of its queue."""
        sent = str(int(datetime.now(UTC).timestamp() * 1000))
        attributes = {"SentTimestamp": sent, "ApproximateReceiveCount": "1"}
        records = [{"messageId": str(n), "body": body, "attributes": attributes} for n, body in enumerate(bodies)]
        self.call(function, {"Records": records})

    def ask(self, task: str, url: str, seconds: float = 60) -> None:
        """Reconcile, which asks the Stripe at `url`."""
        run = import_module("nilometer.lambdas.reconcile").run
        run(task, store=self.store, api=stripe_at(url), scope=Scope(), seconds=seconds)

    def metrics(self) -> dict[Series, list[float]]:
        """What the functions have written by now."""
        return written(vars(record) for record in self._caplog.records if hasattr(record, "_aws"))


def stripe_at(url: str) -> StripeApi:
    return StripeApi("sk_test_fake", base_url=url, requests_per_second=500)


# ---------------------------------------------------------------- faults that our own functions count


def nonsense(function: str) -> Callable[[FaultyPlace], None]:
    """A message that is nothing, or a record of a stream that no version can read."""

    def deliver(place: FaultyPlace) -> None:
        if function in {"changes", "limits"}:
            image = {
                "pk": {"S": "WORKSPACE#w"},
                "sk": {"S": "BILLING"},
                "kind": {"S": "billing"},
                "version": {"S": "x"},
            }
            about = {"SequenceNumber": "1", "Keys": {}, "NewImage": image, "OldImage": {"pk": {"N": "none"}}}
            arn = "arn:aws:dynamodb:us-east-1:1:table/records/stream/2026"
            record = {"eventID": "1", "eventName": "MODIFY", "eventSourceARN": arn, "dynamodb": about}
            place.call(function, {"Records": [record]})
        else:
            place.deliver(function, "no json")

    return deliver


def forged_webhooks(place: FaultyPlace) -> None:
    """More than are taken: the secret was rolled at Stripe alone."""
    for _ in range(3):
        place.call("webhook", {"body": "{}", "headers": {"stripe-signature": sign(b"{}", secret="other", timestamp=1)}})


def bus_without_place(place: FaultyPlace) -> None:
    """A signed webhook finds no secret stored: it is answered 500."""
    place.set("STRIPE_SECRET_ARN", place.secret("unset"))
    place.call("webhook", {"body": "{}", "headers": {"stripe-signature": "t=1,v1=00"}})


def dead_letter(place: FaultyPlace) -> None:
    """Too young to be sent back, or tried three times."""
    boto3.client("sqs").send_message(QueueUrl=place.dead, MessageBody="{}")
    place.call("redrive", {})


def unreadable_table(place: FaultyPlace) -> None:
    """The log of a table of the lake was written over."""
    log = "lake/usage/_delta_log/00000000000000000000.json"
    boto3.client("s3").put_object(Bucket=place.objects.bucket, Key=log, Body=b"no json")
    place.call("maintenance", {})


def lost_event(place: FaultyPlace) -> None:
    """A change at Stripe that no webhook told."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    play(place.store, world.events)
    world.advance(timedelta(minutes=1))
    world.change_quantity(subscription, 9)
    world.advance(timedelta(minutes=1))
    with serve(world) as (url, _):
        place.ask("reconcile", url)


def nights_without_time(place: FaultyPlace) -> None:
    """Two days ago all was compared; since then each run ended after one page."""
    world, _, price = company()
    world.subscribe(world.customer("ws"), [(price, 1)])
    with serve(world) as (url, _):
        place.ask("reconcile", url)
        place.later(HOURS)
        place.ask("reconcile", url, seconds=0)


def stripe_away(place: FaultyPlace) -> None:
    """An object is in doubt, and nobody answers."""
    world, _, price = company()
    subscription = world.subscribe(world.customer("ws"), [(price, 1)])
    world.advance(timedelta(seconds=9))
    for quantity in (5, 6, 7):
        world.change_quantity(subscription, quantity)
    lost = len(world.events) - 2
    play(place.store, [event for number, event in enumerate(world.events) if number != lost])
    place.ask("refetch", CLOSED)


def unknown_meter(place: FaultyPlace) -> None:
    """Usage of a customer and a meter that Stripe does not know."""
    prepare(place.store)
    perform(place.store, operator("test"), UpdateMeter(meter="api_calls", stripe_event_name="nowhere"), now=NOW)
    views = {"sub_1": {"object": "subscription", "status": "active", "version": 1}}
    inputs = with_views(Inputs(), "self/test/cus_1", views)
    given = {"workspace_id": WORKSPACE, "version": 1, "cause": "evt", "updated_at": "now"}
    item = record_item(keys.billing(WORKSPACE), inputs, **given)  # type: ignore[arg-type]
    place.store.commit([Put(table=Table.RECORDS, item=item)])
    handle(place.store, place.objects, cloud("a", quantity="1"))
    look(place.store)
    with serve(StripeWorld(datetime.now(UTC).replace(microsecond=0), seed=1)) as (url, _):
        place.ask("meter", url)


def uncountable(place: FaultyPlace) -> None:
    """Stripe says that it could not count what it took."""
    event = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.billing.meter.no_meter_found",
        "livemode": False,
        "created": "2026-11-26T04:00:00.000Z",
        "data": {},
    }
    arrived = {"version": "0", "id": "1", "time": "2026-11-26T04:00:01Z", "detail-type": event["type"]}
    place.deliver("billing", json.dumps({**arrived, "source": "nilometer.webhook", "detail": event}))


OURS_BY_FAULT: dict[str, Callable[[FaultyPlace], None]] = {
    "WebhookSignaturesAlarm": forged_webhooks,
    "WebhookFailedAlarm": bus_without_place,
    "WebhookCanaryAlarm": bus_without_place,
    "DeadLettersAlarm": dead_letter,
    "AttentionAlarm": nonsense("usage"),
    "MaintenanceStoppedAlarm": unreadable_table,
    "DriftAlarm": lost_event,
    "NotComparedAlarm": nights_without_time,
    "RefetchAlarm": stripe_away,
    "MeterEventsAlarm": unknown_meter,
    "MeterErrorsAlarm": uncountable,
    **{
        f"{flow.title()}RejectsAlarm": nonsense(flow)
        for flow in ("billing", "usage", "operations", "changes", "limits", "lake", "datasets")
    },
}

# ---------------------------------------------------------------- faults that AWS counts


def _of(namespace: str, metric: str, dimension: str, value: float) -> Callable[[str], Period]:
    return lambda what: {series(namespace, metric, **{dimension: what}): (value,)}


def _canary(what: str) -> Period:
    function = f"{what}Function"
    live = {"FunctionName": function, "Resource": f"${{{function}}}:live", "ExecutedVersion": NEW}
    return {series("AWS/Lambda", "Errors", **live): (1.0,)}


def _api(metric: str) -> Callable[[str], Period]:
    """Two hundred requests in a period, three of five answered so."""
    return lambda _what: {
        series("AWS/ApiGateway", metric, ApiId="Api"): (120.0,),
        series("AWS/ApiGateway", "Count", ApiId="Api"): (200.0,),
    }


def _running(_what: str) -> Period:
    """The other schedules call, and no comparison ends."""
    return {series("AWS/Lambda", "Invocations", FunctionName="LimitsFunction"): (12.0,)}


VISIBLE, OLDEST = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
AWS_BY_FAULT: tuple[tuple[str, str, Callable[[str], Period]], ...] = (
    (r"(\w+DeadLetters)Alarm", "a message was received five times", _of("AWS/SQS", VISIBLE, "QueueName", 1)),
    (r"(\w+Queue)AgeAlarm", "nobody empties a queue for 16 minutes", _of("AWS/SQS", OLDEST, "QueueName", 960)),
    (r"(\w+Function)ErrorsAlarm", "a deploy raises at each call", _of("AWS/Lambda", "Errors", "FunctionName", 3)),
    (
        r"(\w+Function)ThrottlesAlarm",
        "a neighbour has all executions",
        _of("AWS/Lambda", "Throttles", "FunctionName", 9),
    ),
    (r"(\w+Function)DurationAlarm", "a service is slow", _of("AWS/Lambda", "Duration", "FunctionName", 899_000)),
    (r"(\w+Function)IteratorAgeAlarm", "the bus is away", _of("AWS/Lambda", "IteratorAge", "FunctionName", 660_000)),
    (
        r"(\w+Mapping)StreamFailuresAlarm",
        "the bus was away for six hours",
        _of("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", "EventSourceMappingUUID", 500),
    ),
    (r"(\w+)CanaryAlarm", "the newest version raises", _canary),
    (r"(Api)FailuresAlarm", "the webhook takes more than eight seconds", _api("5xx")),
    (r"(Api)RefusalsAlarm", "somebody tries paths", _api("4xx")),
    (r"(Reconcile)MissingAlarm", "the schedule is off", _running),
    (r"(Stripe)SilenceAlarm", "the endpoint is disabled", lambda _what: {}),
)


def fault_of_aws(name: str) -> tuple[str, Callable[[str], Period]] | None:
    """What the alarm's name is about, and its fault."""
    spelled = re.sub(r"^(\w+?)(Errors|Throttles|Duration|IteratorAge)Alarm$", r"\1Function\2Alarm", name)
    spelled = re.sub(r"^(\w+)StreamFailuresAlarm$", r"\1StreamMappingStreamFailuresAlarm", spelled)
    found = ((re.fullmatch(pattern, spelled), period) for pattern, _, period in AWS_BY_FAULT)
    return next(((match[1], period) for match, period in found if match), None)


@pytest.fixture(scope="session")
def alarms(template: Template) -> dict[str, Properties]:
    return template.of("AWS::CloudWatch::Alarm")


def judged(alarm: Properties, period: Period) -> Sequence[bool]:
    """Before the fault, and when it has lasted for as long as the alarm looks back."""
    return [goes_off(alarm, []), goes_off(alarm, [period] * 26)]


def test_every_alarm_has_its_fault(alarms: dict[str, Properties]) -> None:
    """A new alarm needs a row in one of the two tables above; no row is without its alarm."""
    of_aws = {name for name in alarms if fault_of_aws(name) and name not in OURS_BY_FAULT}

    assert set(alarms) == of_aws | OURS_BY_FAULT.keys()
    for pattern, _, _ in AWS_BY_FAULT:
        assert any(fault_of_aws(name) for name in of_aws), pattern


@pytest.mark.parametrize("name", sorted(OURS_BY_FAULT))
def test_an_alarm_on_our_numbers_goes_off_by_its_fault(
    alarms: dict[str, Properties], place: FaultyPlace, name: str
) -> None:
    """The handler's own lines are enough for it, and nothing is too much before."""
    OURS_BY_FAULT[name](place)

    assert judged(alarms[name], place.metrics()) == [False, True]


def test_an_alarm_on_aws_numbers_goes_off_by_its_fault(alarms: dict[str, Properties]) -> None:
    """Each of them, by what AWS counts of its own resource."""
    found = {}
    for name, alarm in alarms.items():
        if name not in OURS_BY_FAULT and (fault := fault_of_aws(name)):
            what, period = fault
            found[name] = judged(alarm, period(what))

    assert len(found) > 60
    silence = found.pop("StripeSilenceAlarm")  # nothing is what it waits for
    assert silence == [True, True]
    assert {name: said for name, said in found.items() if said != [False, True]} == {}


def test_work_that_goes_well_sets_off_none(alarms: dict[str, Properties], place: FaultyPlace) -> None:
    """A taken webhook, billing, usage, upkeep and a comparison: their lines are below every threshold."""
    body = (EVENTS / "stripe/customer.created.json").read_text()
    signature = sign(body.encode(), secret=SECRET, timestamp=int(datetime.now(UTC).timestamp()))
    answer = place.call("webhook", {"body": body, "headers": {"stripe-signature": signature}})
    for function, event in (("redrive", {}), ("maintenance", {}), ("limits", {})):
        place.call(function, event)
    with serve(StripeWorld(datetime.now(UTC).replace(microsecond=0), seed=1)) as (url, _):
        for task in ("refetch", "reconcile", "meter"):
            place.ask(task, url)

    assert answer["statusCode"] == 200
    well = place.metrics()
    assert series(OURS, "reconciled", flow="reconcile") in well
    rung = {name for name, alarm in alarms.items() if goes_off(alarm, [well] * 26)}
    assert rung == {"StripeSilenceAlarm"}


def test_a_stack_without_a_key_of_stripes_misses_no_comparison(
    alarms: dict[str, Properties], place: FaultyPlace
) -> None:
    """Nothing rings because something is not set up yet."""
    place.call("reconcile", {"do": "reconcile"})
    hours = [{**_running(""), **place.metrics()}] * 26

    assert not goes_off(alarms["ReconcileMissingAlarm"], hours)


def test_points_of_periods_are_counted() -> None:
    """One bad period of three is no alarm that asks for two; a percentile is of values, not of their sum."""
    alarm = {
        "Namespace": "AWS/Lambda",
        "MetricName": "Duration",
        "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "LakeFunction"}}],
        "ExtendedStatistic": "p99",
        "Threshold": 100,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
    }
    place = series("AWS/Lambda", "Duration", FunctionName=referred({"Ref": "LakeFunction"}))
    slow, fast = {place: (*[1.0] * 90, *[101.0] * 10)}, {place: (60.0, 60.0)}

    assert [
        goes_off(alarm, periods) for periods in ([slow], [slow, slow], [slow, {}, slow], [slow, slow, fast, fast])
    ] == [
        False,
        True,
        True,
        False,
    ]

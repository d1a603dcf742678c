"""Dead letters are listed with their reasons, sent back, deleted; nothing else is touched."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from tests.support.command_line import CommandLine, Local

from nilometer.local.plane.engine import REGION

SUCH = "--type", "nilometer.test"


@pytest.fixture(scope="module")
def dlq_line(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def running(dlq_line: CommandLine) -> Iterator[Local]:
    """A stack of its own: dead letters would disturb other tests."""
    stack = dlq_line.local()
    yield stack
    assert stack.stop()[0] == 0


class Queues:
    """The queues of the stack, by the names of the template."""

    def __init__(self, running: Local) -> None:
        self.client = self._client(running, "sqs")
        self.events = self._client(running, "events")
        self.s3 = self._client(running, "s3")
        self.logs = self._client(running, "logs")
        self.functions = self._client(running, "lambda")
        self.urls = {url.rsplit("-", 2)[-2]: url for url in self.client.list_queues()["QueueUrls"]}

    @staticmethod
    def _client(running: Local, service: str) -> Any:
        return boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test").client(  # type: ignore[call-overload]
            service, endpoint_url=running.about["aws_endpoint_url"], region_name=REGION
        )

    def put(self, queue: str, body: object, **attributes: str) -> str:
        text = body if isinstance(body, str) else json.dumps(body)
        described = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sent = self.client.send_message(QueueUrl=self.urls[queue], MessageBody=text, MessageAttributes=described)
        return str(sent["MessageId"])

    def log_group(self, function: str) -> str:
        found = [known for known in self.functions.list_functions()["Functions"] if function in known["FunctionName"]]
        return str(found[0]["LoggingConfig"]["LogGroup"])

    def log(self, group: str, **said: str) -> None:
        now = datetime.now(UTC)
        line = json.dumps({**said, "timestamp": f"{now:%Y-%m-%d %H:%M:%S},000+0000"})
        self.logs.create_log_group(logGroupName=group)
        self.logs.create_log_stream(logGroupName=group, logStreamName="one")
        events = [{"timestamp": int(now.timestamp() * 1000), "message": line}]
        self.logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)

    def deliver(self, queue: str, *, times: int) -> None:
        """Instead of five times with ever longer pauses."""
        url = self.urls[queue]
        known = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
        policy = json.loads(known["RedrivePolicy"]) | {"maxReceiveCount": times}
        self.client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})


@pytest.fixture
def queues(running: Local) -> Queues:
    return Queues(running)


@pytest.fixture
def nilometer(dlq_line: CommandLine, queues: Queues) -> CommandLine:
    """The command line; no letter of an earlier test lies anywhere."""
    for name in queues.urls:
        if name.endswith("DeadLetters"):
            queues.client.purge_queue(QueueUrl=queues.urls[name])
    return dlq_line


def envelope(detail: dict[str, Any]) -> dict[str, Any]:
    own = {"version": "0", "id": str(uuid.uuid4()), "time": "2026-11-23T12:00:00Z", "source": "services"}
    return {**own, "detail-type": detail["type"], "detail": detail}


def usage(workspace: str, event_id: str) -> dict[str, Any]:
    data = {"meter": "api_calls", "quantity": "5", "unit": "call"}
    known = {"specversion": "1.0", "source": "/services/test", "type": "usage.recorded.v1", "subject": workspace}
    return envelope({**known, "id": event_id, "time": datetime.now(UTC).isoformat(), "data": data})


def test_a_message_that_failed_is_listed_with_its_reason_and_redriven(
    nilometer: CommandLine, running: Local, queues: Queues
) -> None:
    """From the queue through its deliveries to the dead letters, and back once the cause is gone."""
    queues.deliver("OperationsQueue", times=2)
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    known = {"specversion": "1.0", "id": "evt_m", "source": "/services/accounts", "type": "member.added.v1"}
    data = {"user_id": "user_bob", "role": "Analyst", "actor": "user_ada"}
    event = {**known, "subject": workspace, "time": "2026-11-23T04:14:05.123Z", "data": data}
    entry = {"Source": "services.accounts", "DetailType": "member.added.v1", "Detail": json.dumps(event)}
    queues.events.put_events(Entries=[{**entry, "EventBusName": running.about["bus"]}])
    waited = nilometer("wait")

    [row] = nilometer("dlq", "list", "--json").lines
    [again_row] = nilometer("dlq", "list", "--json").lines
    nilometer("workspace", "create", workspace)
    moved = nilometer("dlq", "redrive", "--reason", "not known yet", "--yes", "--json").json
    again = nilometer("wait")

    assert "see nilometer dlq list" in waited.err
    assert (row["queue"], row["type"], row["event_id"]) == ("OperationsDeadLetters", "member.added.v1", "evt_m")
    assert row["reason"] == f"workspace {workspace} is not known yet; its creation may not have arrived"
    assert row["sent_at"] <= row["first_failed_at"] < row["last_failed_at"]
    assert row["receives"] == again_row["receives"] == 2
    assert moved == {"sent_back": 1, "ids": [row["id"]], "dry_run": False}
    assert again.code == 0
    assert "dead-letter" not in again.err
    assert [m["user"] for m in nilometer("member", "list", workspace, "--json").lines] == ["user_bob"]


def test_a_letter_that_was_sent_back_twice_counts_once(nilometer: CommandLine, queues: Queues) -> None:
    """As after a death between sending and deleting: the copy is dropped."""
    workspace = f"ws_{uuid.uuid4().hex[:8]}"
    nilometer("workspace", "create", workspace)
    for _ in range(2):
        queues.put("UsageDeadLetters", usage(workspace, "u1"))
        assert nilometer("dlq", "redrive", "--yes", "--json").json["sent_back"] == 1
        assert nilometer("wait").code == 0

    meters = nilometer("usage", "show", workspace, "--json").json["meters"]
    assert [meter["used"] for meter in meters if meter["meter"] == "api_calls"] == ["5"]
    assert nilometer("dlq", "list", "--json").lines == []


def test_what_the_bus_could_not_deliver_says_why(nilometer: CommandLine, queues: Queues) -> None:
    """With EventBridge's code and message."""
    attributes = {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "not authorized", "RULE_ARN": "arn:rule"}
    letter = queues.put("BillingDeadLetters", envelope({"type": "nilometer.test", "id": "evt_1"}), **attributes)

    [row] = nilometer("dlq", "list", "--json", *SUCH).lines
    shown = nilometer("dlq", "show", letter, "--json").json

    assert (row["id"], row["reason"], row["event_id"]) == (letter, "NO_PERMISSIONS: not authorized", "evt_1")
    assert shown["attributes"] == attributes
    assert "NO_PERMISSIONS" in nilometer("dlq", "list", *SUCH).out


def test_a_payload_is_shown_redacted(nilometer: CommandLine, queues: Queues) -> None:
    """In full with --raw alone; the list shows none."""
    body = envelope({"type": "nilometer.test", "id": "e1", "data": {"email": "ada@example.com"}})
    letter = queues.put("OperationsDeadLetters", body)

    shown = nilometer("dlq", "show", letter)
    raw = nilometer("dlq", "show", letter, "--raw")

    assert "[redacted]" in shown.out
    assert "ada@" not in shown.out + nilometer("dlq", "list", "--json").out
    assert json.loads(raw.out) == body


def test_an_unknown_letter_is_exit_code_1(nilometer: CommandLine) -> None:
    answer = nilometer("dlq", "show", "5a3f9c1e")

    assert (answer.code, answer.out) == (1, "")
    assert "nilometer dlq list" in answer.err


def test_purge_deletes_what_the_filters_leave(nilometer: CommandLine, queues: Queues) -> None:
    """And nothing without being told so: a dry run changes nothing, and nobody can be asked here."""
    kept = queues.put("BillingDeadLetters", envelope({"type": "invoice.paid", "id": "evt_1"}))
    gone = queues.put("BillingDeadLetters", envelope({"type": "nilometer.test", "id": "evt_2"}))

    tried = nilometer("dlq", "purge", *SUCH, "--dry-run", "--json").json
    unasked = nilometer("dlq", "purge", *SUCH)
    before = {row["id"] for row in nilometer("dlq", "list", "--json").lines}
    done = nilometer("dlq", "purge", *SUCH, "--yes", "--json").json

    assert tried == {"deleted": 0, "ids": [gone], "dry_run": True}
    assert (unasked.code, gone in unasked.out) == (2, True)
    assert "add --yes" in unasked.err
    assert before == {kept, gone}
    assert done == {"deleted": 1, "ids": [gone], "dry_run": False}
    assert [row["id"] for row in nilometer("dlq", "list", "--json").lines] == [kept]


def test_a_letter_can_be_named(nilometer: CommandLine, queues: Queues) -> None:
    """By its id alone, in whatever queue."""
    letters = [queues.put("LakeUsageDeadLetters", {"table": "usage", "rows": []}) for _ in range(3)]

    done = nilometer("dlq", "purge", letters[1], "--yes", "--json").json
    again = nilometer("dlq", "purge", letters[1], "--yes")

    assert done["ids"] == [letters[1]]
    assert (again.code, "1 letters are not there" in again.err) == (1, True)
    assert {row["id"] for row in nilometer("dlq", "list", "--json").lines} == {letters[0], letters[2]}


def test_age_and_queue_are_filters(nilometer: CommandLine, queues: Queues) -> None:
    queues.put("BillingDeadLetters", "{}")

    assert nilometer("dlq", "list", "--older-than", "1h", "--json").lines == []
    assert nilometer("dlq", "list", "--queue", "UsageDeadLetters", "--json").lines == []
    assert len(nilometer("dlq", "list", "--queue", "BillingDeadLetters", "--older-than", "0s", "--json").lines) == 1
    assert nilometer("dlq", "list", "--older-than", "soon").code == 2
    assert "BillingDeadLetters" in nilometer("dlq", "list", "--queue", "Billing").err


def test_a_queue_without_source_cannot_be_redriven(nilometer: CommandLine, queues: Queues) -> None:
    """The schedules': alone it is refused, beside others it is left and named."""
    letter = queues.put("ScheduleDeadLetters", {"task": "optimize"})

    alone = nilometer("dlq", "redrive", "--yes")
    queues.put("LakeUsageDeadLetters", {"table": "usage", "rows": []})
    beside = nilometer("dlq", "redrive", "--yes")

    assert (alone.code, beside.code) == (1, 0)
    for answer in (alone, beside):
        assert "ScheduleDeadLetters has no queue to send its letters (1) back to" in answer.err
    assert "1 sent back" in beside.err
    assert [row["id"] for row in nilometer("dlq", "list", "--json").lines] == [letter]


def test_what_was_given_up_of_a_stream_is_listed(nilometer: CommandLine, running: Local, queues: Queues) -> None:
    """As Lambda keeps it in the bucket, with the reason and where it lies."""
    at, batch = "2026-11-23T04:14:05Z", {"batchSize": 2, "streamArn": "arn:aws:dynamodb:::table/events/stream/1"}
    arrivals = {f"approximateArrivalOf{which}Record": at for which in ("First", "Last")}
    context = {"condition": "RetryAttemptsExhausted", "approximateInvokeCount": 9}
    content = {"requestContext": context, "timestamp": at, "DDBStreamBatchInfo": batch | arrivals, "payload": "{}"}
    place = {"Bucket": running.about["lake_bucket"], "Key": "aws/lambda/mapping/shard/2026/11/23/x"}
    queues.s3.put_object(**place, Body=json.dumps(content).encode())

    [row] = nilometer("dlq", "list", "--json").lines
    queues.s3.delete_object(**place)

    assert (row["queue"], row["id"], row["type"]) == ("stream of events", place["Key"], "2 records")
    assert (row["reason"], row["receives"]) == ("RetryAttemptsExhausted", 9)


def test_what_was_given_up_of_a_stream_is_sent_back_to_its_function(
    nilometer: CommandLine, running: Local, queues: Queues
) -> None:
    """And deleted once that has taken it; what the function does not take stays."""
    at, batch = "2026-11-23T04:14:05Z", {"batchSize": 1, "streamArn": "arn:aws:dynamodb:::table/events/stream/1"}
    arrivals = {f"approximateArrivalOf{which}Record": at for which in ("First", "Last")}
    [changes] = [one for one in queues.functions.list_functions()["Functions"] if "Changes" in one["FunctionName"]]
    context = {"condition": "RecordAgeExceeded", "approximateInvokeCount": 9, "functionArn": changes["FunctionArn"]}
    good, bad = "aws/lambda/mapping/shard/1", "aws/lambda/mapping/shard/2"
    for key, payload in ((good, '{"Records": []}'), (bad, '{"no records": 1}')):
        content = {"requestContext": context, "timestamp": at, "DDBStreamBatchInfo": batch | arrivals}
        body = json.dumps({**content, "payload": payload}).encode()
        queues.s3.put_object(Bucket=running.about["lake_bucket"], Key=key, Body=body)

    sent = nilometer("dlq", "redrive", good, "--yes", "--json").json
    failed = nilometer("dlq", "redrive", bad, "--yes", "--json")
    left = [row["id"] for row in nilometer("dlq", "list", "--json").lines]
    purged = nilometer("dlq", "purge", bad, "--yes", "--json").json

    assert (sent["sent_back"], left, purged["deleted"]) == (1, [bad], 1)
    assert failed.code == 1
    assert "failed again" in failed.err


def test_on_aws_reasons_come_from_cloudwatch(nilometer: CommandLine, running: Local, queues: Queues) -> None:
    """From the log group of the function that reads the source; what cannot be read is said and left out."""
    aws = {"AWS_ENDPOINT_URL": running.about["aws_endpoint_url"], "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    line = "dlq", "list", "--stack", running.about["stack_name"], "--json"
    env = {**aws, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    letter = queues.put("BillingDeadLetters", "{}")
    group = queues.log_group("BillingFunction")
    queues.logs.delete_log_group(logGroupName=group)

    unreadable = nilometer(*line, env=env)
    queues.log(group, message="billing.failed", message_id=letter, error="DynamoDB answered nothing")
    readable = nilometer(*line, env=env)

    assert [row["reason"] for row in unreadable.lines] == [None]
    assert "its reasons are left out" in unreadable.err
    assert [row["reason"] for row in readable.lines] == ["DynamoDB answered nothing"]


def test_a_trace_leads_to_the_letter(nilometer: CommandLine, queues: Queues) -> None:
    """Also of an event in a batch, whose own id the letter does not have."""
    batch = {"type": "usage.batch.v1", "id": "b1", "data": {"events": [{"id": "req_1"}, {"id": "req_2"}]}}
    letter = queues.put("UsageDeadLetters", envelope(batch))

    [hop] = nilometer("trace", "/services/test#req_2", "--json").json["hops"]

    assert (hop["place"], hop["what"]) == ("dead letter", f"UsageDeadLetters {letter}: no reason is known")

"""Operations in the browser: what got stuck, why, and the way back."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from tests.support.command_line import Local
from tests.support.stack.visit import Visit

from nilometer.local.plane.engine import REGION


def put(month: Local, queue: str, body: str) -> str:
    """A message in a queue of the stack, by the name of the template."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    sqs = session.client("sqs", endpoint_url=month.about["aws_endpoint_url"])
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if f"-{queue}-" in url]
    return str(sqs.send_message(QueueUrl=url, MessageBody=body)["MessageId"])


def usage(event_id: str) -> str:
    """A usage event as the bus hands it to the queue."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/services/gateway",
        "type": "usage.recorded.v1",
        "subject": "giza",
        "time": now,
        "data": {"meter": "api_calls", "quantity": 1, "unit": "call"},
    }
    return json.dumps({"id": event_id, "detail-type": "usage.recorded.v1", "source": "x", "time": now, "detail": event})


def test_a_dead_letter_is_redriven_in_the_browser(tab: Any, month: Local, ask: Any) -> None:
    """It is listed with its queue; after the button it counts, and lies there no more."""
    letter = put(month, "UsageDeadLetters", usage("dead-1"))
    before = ask("usage", "show", "giza", "--json").json["meters"][0]["count"]

    tab.goto("/operations")
    row = tab.wait_for_selector("#letters tr:has-text('dead-1')")
    assert "UsageDeadLetters" in row.inner_text()
    tab.click("#letters tr:has-text('dead-1') >> text=Redrive")
    tab.wait_for_selector("#letters >> text=sent back")

    ask("wait")
    assert ask("usage", "show", "giza", "--json").json["meters"][0]["count"] == before + 1
    assert letter not in ask("dlq", "list", "--json").out


def test_a_letter_is_shown_redacted_and_deleted(visit: Visit, month: Local, ask: Any) -> None:
    """The payload as it arrived is for an Admin alone; deleted it is gone."""
    body = json.dumps({"detail-type": "x", "detail": {"id": "dead-2", "email": "ann@example.com"}})
    letter = put(month, "UsageDeadLetters", body)
    path = f"/operations/letter?id={letter}"

    assert "ann@example.com" in visit.get(path).text
    time.sleep(1)
    analyst = Visit(visit.url).look_as("Analyst").get(path)
    assert (analyst.status, "ann@example.com" in analyst.text) == (200, False)

    gone = visit.post("/letters/purge", {"queue": "UsageDeadLetters", "id": letter}, hx_request="true")

    assert (gone.status, "deleted" in gone.text) == (200, True)
    assert letter not in ask("dlq", "list", "--json").out
    assert visit.post("/letters/purge", {"queue": "UsageDeadLetters", "id": letter}).status == 404
    assert visit.post("/letters/redrive", {"queue": "Nowhere", "id": letter}).status == 400


def test_verify_and_doctor_say_what_the_commands_say(visit: Visit, ask: Any) -> None:
    """Each check with its verdict."""
    ask("wait")
    verified = visit.post("/operations/verify").text
    for report in ask("verify", "--json").lines:
        assert report["check"].replace("_", " ") in verified
        assert f">{report['compared']:,}<" in verified
    checked = visit.post("/operations/doctor").text
    for finding in ask("doctor", "--json").lines:
        if finding["check"] in {"queues", "mappings", "deployment"}:
            assert finding["check"] in checked


def test_every_queue_and_schedule_is_named(visit: Visit) -> None:
    """By the names of the template."""
    assert all(name in visit.get("/operations").text for name in ("BillingQueue", "UsageQueue", "LakeAuditQueue"))
    schedules = visit.get("/operations/schedules").text
    assert all(name in schedules for name in ("Maintenance", "Reconcile", "cron("))


@pytest.mark.parametrize(
    "path",
    ["/operations", "/operations/letters", "/operations/letter?id=x", "/operations/rejects", "/operations/schedules"],
)
def test_operations_are_for_who_sees_the_whole_stack(visit: Visit, path: str) -> None:
    """Neither a Viewer nor an Admin of one workspace."""
    assert visit.look_as("Viewer").get(path).status == 403
    assert visit.look_as("Admin", "memphis").get(path).status == 403

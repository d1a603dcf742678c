"""One event is followed through every place that it came by, and what is not found is said."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from tests.support.command_line import CommandLine, Local

from nilometer.domain.store import keys
from nilometer.domain.store.writes import Key

SOURCE = "/nilometer/cli"


@pytest.fixture(scope="module")
def workspace(nilometer: CommandLine, stack: Local) -> str:
    name = f"ws_{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name, "--admin", "ada").code == 0
    return name


def forget(stack: Local, key: Key) -> None:
    """As TTL does after forty days."""
    tables = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test").client(
        "dynamodb", endpoint_url=stack.about["aws_endpoint_url"], region_name=stack.about["region"]
    )
    tables.delete_item(TableName=stack.about["events_table"], Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}})


def places(found: Any) -> list[str]:
    return list(dict.fromkeys(hop["place"] for hop in found["hops"]))


def told(found: Any, place: str) -> list[str]:
    return [hop["what"] for hop in found["hops"] if hop["place"] == place]


def send(nilometer: CommandLine, workspace: str, event_id: str, *more: str) -> None:
    line = "usage", "send", "--workspace", workspace, "--meter", "api_calls", "--quantity", "1", "--id", event_id
    assert nilometer(*line, *more).code == 0


def test_a_stripe_event_is_followed_to_the_lake(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """Fact, records, what the bus said of them, rows; each hop with the seconds since the one before."""
    sent = nilometer("trigger", "customer.subscription.created", "--workspace", workspace, "--json").json
    assert nilometer("wait").code == 0

    answer = nilometer("trace", sent["id"], "--json")
    table = nilometer("trace", sent["id"])

    found = answer.json
    assert (answer.code, found["kind"], found["gaps"]) == (0, "stripe_event", [])
    # The lake has a queue of its own: the event's row may be in it before billing is changed, those of changes not.
    before = [one for one in places(found) if one != "in the lake"]
    assert before == ["happened", "arrived", "stored", "changed", "announced"]
    assert found["hops"][-1]["place"] == "in the lake"
    assert f"INSERT billing WORKSPACE#{workspace} BILLING" in told(found, "changed")
    assert "billing.plan_changed.v1" in told(found, "announced")
    assert set(told(found, "in the lake")) >= {"a row of stripe_events"}
    assert found["hops"][0]["seconds"] is None
    assert all(hop["seconds"] >= 0 for hop in found["hops"][1:])
    assert "billing.plan_changed.v1" in table.out


def test_events_of_one_batch_share_a_change(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """The counter names the last of them; the trace of each shows it, and which event it names."""
    now = datetime.now(UTC).isoformat()
    ids = [f"b_{n}_{workspace}" for n in range(3)]
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    data = {"meter": "api_calls", "quantity": "1", "unit": "call"}
    known = {"specversion": "1.0", "source": SOURCE, "type": "usage.recorded.v1", "subject": workspace, "time": now}
    events = [known | {"id": id_, "data": data} for id_ in ids]
    other = known | {"id": f"b_other_{workspace}", "data": data, "time": yesterday}
    assert nilometer("usage", "send", "-", text=lines([other, *events])).code == 0
    assert nilometer("wait").code == 0

    for event_id in ids:
        found = nilometer("trace", f"{SOURCE}#{event_id}", "--json").json
        changed = told(found, "changed")
        assert found["gaps"] == []
        assert len(changed) == 2
        assert not any(f"#DAY#{yesterday[:10]}" in what for what in changed)
        assert all(f"counter WORKSPACE#{workspace} USAGE#api_calls#" in what for what in changed)
        assert all(event_id == ids[-1] or f"in a batch that ended with {ids[-1]}" in what for what in changed)


def lines(events: Any) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


def test_usage_in_the_lake_is_found_by_its_id_alone(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """Unless two sources have used it."""
    event_id = f"u_{workspace}"
    send(nilometer, workspace, event_id)
    assert nilometer("wait").code == 0
    alone = nilometer("trace", event_id, "--json").json
    time = datetime.now(UTC).isoformat()
    data = {"meter": "api_calls", "quantity": "1", "unit": "call"}
    other = {"specversion": "1.0", "source": "/other", "type": "usage.recorded.v1", "subject": workspace}
    assert nilometer("usage", "send", "-", text=lines([other | {"id": event_id, "time": time, "data": data}])).code == 0
    assert nilometer("wait").code == 0

    both = nilometer("trace", event_id)

    assert alone["source"] == SOURCE
    assert both.code == 1
    assert f"choose one of {SOURCE}#{event_id}, /other#{event_id}" in both.err


def test_a_forgotten_fact_is_told_by_the_lake(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """Facts live forty days; of usage the lake has all, of what a service said its effects."""
    event_id = f"old_{workspace}"
    send(nilometer, workspace, event_id)
    sent = nilometer("trigger", "customer.updated", "--workspace", workspace, "--json").json["id"]
    assert nilometer("wait").code == 0
    forget(stack, keys.usage_event(SOURCE, event_id))
    forget(stack, keys.stripe_event("self", sent))

    usage, stripe = (nilometer("trace", one, "--json").json for one in (f"{SOURCE}#{event_id}", sent))

    for found in (usage, stripe):
        assert places(found)[:2] == ["happened", "arrived"]
        assert "stored" not in places(found)
        assert [gap["place"] for gap in found["gaps"]] == ["stored"]
        assert "only the lake still has it" in found["gaps"][0]["meaning"]
    assert len(told(usage, "changed")) == 2


def test_what_a_service_says_is_followed_to_the_persons(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """A change of a member's role, and the notice that he was told of it by."""
    assert nilometer("member", "add", workspace, "bob", "--role", "Viewer").code == 0
    event_id = f"role_{workspace}"
    publish(stack, workspace, "member.role_changed.v1", event_id, {"user_id": "bob", "role": "Analyst"})
    assert nilometer("wait").code == 0

    found = nilometer("trace", f"/services/accounts#{event_id}", "--json").json
    forget(stack, keys.operation("/services/accounts", event_id))
    by_effect = nilometer("trace", event_id, "--json").json

    assert (found["kind"], found["gaps"]) == ("operation", [])
    assert f"MODIFY membership WORKSPACE#{workspace} MEMBER#bob" in told(found, "changed")
    assert told(found, "told") == ["member.role_changed to bob"]
    assert told(by_effect, "told") == told(found, "told")
    assert "SOURCE#ID" in by_effect["gaps"][0]["meaning"]


def publish(stack: Local, workspace: str, type_: str, event_id: str, data: dict[str, Any]) -> None:
    time = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()  # after what the commands have just written
    known = {"specversion": "1.0", "source": "/services/accounts", "subject": workspace, "time": time}
    detail = json.dumps({**known, "id": event_id, "type": type_, "data": {**data, "actor": "ada"}})
    bus = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test").client(
        "events", endpoint_url=stack.about["aws_endpoint_url"], region_name=stack.about["region"]
    )
    entry = {"Source": "services.accounts", "DetailType": type_, "Detail": detail, "EventBusName": stack.about["bus"]}
    bus.put_events(Entries=[entry])


def test_a_void_is_part_of_the_story(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """After the event, and also when it came first."""
    for event_id, order in ((f"v1_{workspace}", "event"), (f"v2_{workspace}", "void")):
        void = "usage", "void", "--source", SOURCE, "--id", event_id, "--workspace", workspace
        for step in (0, 1):
            if (step == 0) is (order == "event"):
                send(nilometer, workspace, event_id)
            else:
                assert nilometer(*void).code == 0
            assert nilometer("wait").code == 0
            if order == "void" and step == 0:
                early = nilometer("trace", f"{SOURCE}#{event_id}", "--json").json
                assert "its void has" in early["gaps"][0]["meaning"]

        found = nilometer("trace", f"{SOURCE}#{event_id}", "--json").json
        assert any(what.startswith(f"taken back by {SOURCE}#") for what in told(found, "changed"))
        assert found["gaps"] == []


def test_what_was_refused_or_waits_is_found(nilometer: CommandLine, stack: Local, workspace: str) -> None:
    """With its reason, also when it was corrected and accepted; what waits only when its workspace is named."""
    refused, unknown = f"r_{workspace}", f"ws_{uuid.uuid4().hex[:8]}"
    send(nilometer, workspace, refused, "--unit", "parsec")
    send(nilometer, unknown, "w1")
    assert nilometer("wait").code == 0

    reject = nilometer("trace", f"{SOURCE}#{refused}", "--json").json
    send(nilometer, workspace, refused)
    assert nilometer("wait").code == 0
    accepted = nilometer("trace", f"{SOURCE}#{refused}", "--json").json
    waits = nilometer("trace", f"{SOURCE}#w1", "--workspace", unknown, "--json").json

    assert (places(reject), reject["gaps"]) == (["rejected", "in the lake"], [])
    assert told(reject, "rejected")[0].startswith("usage: unit_mismatch: ")
    assert [hop["place"] for hop in accepted["hops"]].count("rejected") == 1
    assert ("stored" in places(accepted), accepted["gaps"]) == (True, [])
    assert (places(waits), told(waits, "waits")) == (["waits"], [f"until workspace {unknown} is known"])


@pytest.mark.parametrize("name", ["evt_never", f"{SOURCE}#never", "never"])
def test_of_an_unknown_event_it_says_what_that_may_mean(nilometer: CommandLine, stack: Local, name: str) -> None:
    """Exit code 1, nothing on stdout."""
    answer = nilometer("trace", name)

    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("not arrived: it never arrived")

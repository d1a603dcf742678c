"""Usage goes in by the bus and comes back counted."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest


@pytest.fixture
def workspace(nilometer: Any, stack: Any) -> str:
    """A new one, known already."""
    name = f"ws_{uuid.uuid4().hex[:8]}"
    assert nilometer("workspace", "create", name).code == 0
    return name


def this_second() -> str:
    """Of what is sent: in the period of today, also when the day began since the tests were collected."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def used(nilometer: Any, workspace: str) -> dict[str, str]:
    assert nilometer("wait").code == 0
    return {meter["meter"]: meter["used"] for meter in nilometer("usage", "show", workspace, "--json").json["meters"]}


def test_the_same_id_counts_once(nilometer: Any, workspace: str) -> None:
    """Sent again by hand, as a producer would after a lost answer."""
    sent = ("usage", "send", "--workspace", workspace, "--meter", "api_calls", "--time", this_second())
    for _ in range(3):
        assert nilometer(*sent, "--quantity", "12", "--id", "fact-1").code == 0
    assert nilometer(*sent, "--quantity", "0.5").code == 0

    assert used(nilometer, workspace) == {"api_calls": "12.5"}


def test_a_meter_of_levels_keeps_the_greatest(nilometer: Any, workspace: str) -> None:
    """The unit and the kind of event come from the meter."""
    for level in ("3", "7", "5"):
        sent = nilometer("usage", "send", "--workspace", workspace, "--meter", "seats", "--quantity", level, "--json")
        assert (sent.json["type"], sent.json["data"]["unit"]) == ("usage.snapshot.v1", "seat")

    assert used(nilometer, workspace) == {"seats": "7"}


def test_usage_of_an_unknown_workspace_waits(nilometer: Any, stack: Any) -> None:
    """Nothing is lost: it counts when the workspace is known."""
    stranger = f"ws_{uuid.uuid4().hex[:8]}"
    nilometer("usage", "send", "--workspace", stranger, "--meter", "api_calls", "--quantity", "4")
    nilometer("wait")
    before = nilometer("usage", "show", stranger, "--json").json

    nilometer("workspace", "create", stranger)

    assert (before["known"], before["waiting"], before["meters"]) == (False, 1, [])
    assert used(nilometer, stranger) == {"api_calls": "4"}


def test_usage_for_people(nilometer: Any, workspace: str) -> None:
    """A table, not JSON."""
    nilometer("usage", "send", "--workspace", workspace, "--meter", "api_calls", "--quantity", "1234")
    nilometer("wait")

    assert "1,234" in nilometer("usage", "show", workspace).out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--meter", "camels", "--quantity", "1"], 1, "nilometer meter create camels"),
        (["--meter", "api_calls", "--quantity", "-1"], 1, "quantity"),
        (["--meter", "api_calls", "--quantity", "1", "--time", "yesterday"], 1, "RFC 3339"),
        (["--meter", "api_calls", "--quantity", "1", "--dimension", "model"], 2, "K=V"),
        (["--meter", "api_calls"], 2, "--quantity"),
    ],
)
def test_wrong_usage_is_refused_in_a_sentence(
    nilometer: Any, stack: Any, arguments: list[str], code: int, says: str
) -> None:
    """Before anything is sent, without a traceback."""
    answer = nilometer("usage", "send", "--workspace", "acme", *arguments)

    assert answer.code == code
    assert says in answer.err
    assert "Traceback" not in answer.err


def test_creating_twice_changes_nothing(nilometer: Any, workspace: str) -> None:
    """And says so; a meter that differs is refused."""
    slug = f"m_{uuid.uuid4().hex[:8]}"
    create = ("meter", "create", slug, "--aggregation", "sum", "--unit")

    assert nilometer("workspace", "create", workspace, "--json").json["created"] is False
    assert nilometer(*create, "token", "--json").json["created"] is True
    assert nilometer(*create, "token", "--json").json["created"] is False
    assert nilometer(*create, "byte").code == 1


def event(workspace: str, id_: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id_,
        "source": "/services/inference",
        "type": "usage.recorded.v1",
        "subject": workspace,
        "time": this_second(),
        "data": {"meter": "api_calls", "quantity": "2", "unit": "call", **data},
    }


def lines(*values: object) -> str:
    return "".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values)


def test_a_file_of_events_counts_once(nilometer: Any, workspace: str, tmp_path: Path) -> None:
    """From a file and again from stdin: more than one entry, and no event twice."""
    file = tmp_path / "usage.ndjson"
    file.write_text(lines(*(event(workspace, f"f{number}") for number in range(250))))

    first = nilometer("usage", "send", str(file), "--json")
    second = nilometer("usage", "send", "-", text=file.read_text())

    assert (first.code, first.json) == (0, {"sent": 250, "bad": []})
    assert (second.code, second.err) == (0, "250 events published, 0 lines bad\n")
    assert used(nilometer, workspace) == {"api_calls": "500"}


def test_bad_lines_are_named_and_the_others_sent(nilometer: Any, workspace: str) -> None:
    """By their number in the file, blank lines counted."""
    batch = event(workspace, "b") | {"type": "usage.batch.v1", "data": {"events": [event(workspace, "in")]}}
    text = lines(
        event(workspace, "g1"), "", "{", event(workspace, "f", quantity=0.5), batch, "[]", event(workspace, "g2")
    )

    answer = nilometer("usage", "send", "-", "--json", text=text)

    assert answer.code == 1
    assert answer.json["sent"] == 2
    assert [(bad["line"], bad["reason"]) for bad in answer.json["bad"]] == [
        (3, "invalid_schema"),
        (4, "quantity_invalid"),
        (5, "invalid_schema"),
        (6, "invalid_schema"),
    ]
    assert "line 4: quantity_invalid" in answer.err
    assert used(nilometer, workspace) == {"api_calls": "4"}


def test_a_file_and_an_event_exclude_each_other(nilometer: Any, stack: Any) -> None:
    """The lines say everything."""
    answer = nilometer("usage", "send", "-", "--meter", "api_calls", text="")

    assert (answer.code, "FILE" in answer.err) == (2, True)


def test_a_void_takes_back_once(nilometer: Any, workspace: str) -> None:
    """Repeated, or before what it voids has come."""
    void = ("usage", "void", "--source", "/services/inference", "--workspace", workspace, "--id")
    nilometer("usage", "send", "-", text=lines(event(workspace, "v1"), event(workspace, "v2")))
    nilometer("wait")

    assert nilometer(*void, "v1", "--json").json["known"] is True
    assert nilometer(*void, "v1").code == 0
    assert nilometer(*void, "v3", "--reason", "test run", "--json").json["known"] is False
    nilometer("wait")
    nilometer("usage", "send", "-", text=lines(event(workspace, "v3")))

    assert used(nilometer, workspace) == {"api_calls": "2"}


def test_a_void_of_others_usage_is_refused(nilometer: Any, workspace: str) -> None:
    """Before it is sent."""
    nilometer("usage", "send", "-", text=lines(event(workspace, f"own-{workspace}")))
    nilometer("wait")
    void = ("usage", "void", "--source", "/services/inference", "--id", f"own-{workspace}", "--workspace", "other")

    assert nilometer(*void).code == 1
    assert used(nilometer, workspace) == {"api_calls": "2"}


def test_rejects_are_listed(nilometer: Any, workspace: str) -> None:
    """With reason and identity; what arrived only when it is asked for."""
    nilometer("usage", "send", "-", text=lines(event(workspace, "odd", unit="camel")))
    nilometer("wait")

    told = nilometer("usage", "rejects", "--since", "2026-11-01", "--json").lines
    [found] = [one for one in told if one["workspace"] == workspace]
    shown = nilometer("usage", "rejects", "--payload", "--json").lines
    [kept] = [json.loads(one["payload"]) for one in shown if one["workspace"] == workspace]

    assert (found["reason"], found["source"], found["event_id"]) == ("unit_mismatch", "/services/inference", "odd")
    assert "payload" not in found
    assert kept["data"]["unit"] == "camel"
    assert "unit_mismatch" in nilometer("usage", "rejects").out


def test_meters_are_listed(nilometer: Any, stack: Any) -> None:
    """Under both names."""
    listed = nilometer("meter", "list", "--json").lines

    assert {"meter": "seats", "unit": "seat", "aggregation": "max"}.items() <= next(
        one for one in listed if one["meter"] == "seats"
    ).items()
    assert nilometer("usage", "meters", "--json").lines == listed
    assert "api_calls" in nilometer("usage", "meters").out


def test_a_recount_corrects_what_differs_from_the_lake(nilometer: Any, stack: Any, workspace: str) -> None:
    """A dry run first; only --apply changes a counter, and needs a yes. What is left alone is said, and why."""
    nilometer("usage", "send", "-", text=lines(event(workspace, "r1"), event(workspace, "r2")))
    assert used(nilometer, workspace) == {"api_calls": "4"}
    recount = ("usage", "recount", workspace)
    young = nilometer(*recount)
    assert young.code == 0
    assert "2 counters (api_calls) changed in the last ten minutes; run it again later" in young.err
    _spoil(stack, workspace)

    [dry] = nilometer(*recount, "--json").lines
    unasked = nilometer(*recount, "--apply")
    before = used(nilometer, workspace)
    applied = nilometer(*recount, "--apply", "--yes", "--json")

    assert (dry["scope"], dry["counted"], dry["lake"], dry["corrected"]) == ("period", "104", "4", False)
    assert nilometer(*recount).code == 0
    assert (unasked.code, before) == (2, {"api_calls": "104"})
    assert (applied.code, [one["corrected"] for one in applied.lines]) == (0, [True])
    assert used(nilometer, workspace) == {"api_calls": "4"}


def _spoil(stack: Any, workspace: str) -> None:
    """Adds 100 to the counter of the period, an hour ago."""
    session = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="a", region_name=stack.about["region"])
    dynamodb = session.resource("dynamodb", endpoint_url=stack.about["aws_endpoint_url"])
    dynamodb.Table(stack.about["records_table"]).update_item(
        Key={"pk": f"WORKSPACE#{workspace}", "sk": f"USAGE#api_calls#{this_second()[:7]}-01T00:00:00.000Z#0"},
        UpdateExpression="SET updated_at = :at ADD #total :much",
        ExpressionAttributeNames={"#total": "total"},
        ExpressionAttributeValues={":at": _an_hour_ago(), ":much": 100},
    )


def _an_hour_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_a_workspace_has_limits_of_its_own(nilometer: Any, workspace: str) -> None:
    """Overridden, granted, shown to people and machines, and taken back."""
    assert "nothing limits" in nilometer("limit", "show", workspace).err
    said = nilometer("limit", "override", workspace, "api_calls", "--included", "100", "--overage", "block")
    assert (said.code, said.err) == (0, f"api_calls of {workspace} is overridden\n")
    nilometer("limit", "grant", workspace, "api_calls", "sorry", "5.5", "--until", "2099-01-01")

    shown = nilometer("limit", "show", workspace, "--json").json
    assert [(one["included"], one["hard"], one["source"]) for one in shown["limits"]] == [("105.5", "105.5", "grant")]
    assert [(one["grant"], one["ends_at"]) for one in shown["own"]] == [
        (None, None),
        ("sorry", "2099-01-01T00:00:00.000Z"),
    ]
    assert "105.5" in nilometer("limit", "show", workspace).out
    assert nilometer("usage", "show", workspace, "--json").json["meters"][0]["limit"] == "105.5"

    assert nilometer("limit", "grant", workspace, "api_calls", "sorry", "--revoke").code == 0
    assert nilometer("limit", "override", workspace, "api_calls", "--plan").code == 0
    assert nilometer("limit", "show", workspace, "--json").json == {"workspace": workspace, "limits": [], "own": []}


def test_amounts_of_limits_have_one_form_in_json(nilometer: Any, workspace: str) -> None:
    """Whole or not, of the plan or one's own: each amount is a decimal string, which no reader rounds."""
    nilometer("limit", "override", workspace, "api_calls", "--included", "100", "--hard", "200.25")
    nilometer("limit", "grant", workspace, "api_calls", "launch", "5", "--until", "2099-01-01")

    shown = nilometer("limit", "show", workspace, "--json").json

    [limit], own = shown["limits"], shown["own"]
    assert {name: limit[name] for name in ("included", "soft", "hard")} == {
        "included": "105",
        "soft": "105",
        "hard": "205.25",
    }
    assert [one.get("included") or one.get("amount") for one in own] == ["100", "5"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["override", "api_calls"], 2, "--plan"),
        (["override", "api_calls", "--plan", "--hard", "5"], 2, "--plan"),
        (["override", "api_calls", "--hard", "much"], 1, "decimal string"),
        (["grant", "api_calls", "sorry"], 2, "AMOUNT"),
        (["grant", "api_calls", "sorry", "5", "--as", "nobody"], 1, "no member"),
    ],
)
def test_own_limits_that_cannot_be_are_refused(
    nilometer: Any, workspace: str, arguments: list[str], code: int, says: str
) -> None:
    """In one sentence."""
    command, *rest = arguments
    answer = nilometer("limit", command, workspace, *rest)

    assert (answer.code, says in answer.err) == (code, True)


def test_a_meter_is_changed_by_command(nilometer: Any, stack: Any) -> None:
    """What is not given stays."""
    slug = f"m_{uuid.uuid4().hex[:8]}"
    assert nilometer("meter", "update", slug, "--inactive").code == 1
    nilometer("meter", "create", slug, "--unit", "call", "--aggregation", "sum", "--stripe-event-name", "calls")

    changed = nilometer("meter", "update", slug, "--dimension", "model", "--fail-closed", "--json").json
    assert nilometer("meter", "update", slug).code == 2
    nilometer("meter", "update", slug, "--inactive")

    assert (changed["dimensions"], changed["fail_open"], changed["stripe_event_name"]) == (["model"], False, "calls")
    [listed] = [one for one in nilometer("meter", "list", "--json").lines if one["meter"] == slug]
    assert listed == {**changed, "active": False}


def test_what_stripe_has_yet_to_be_told(nilometer: Any, workspace: str) -> None:
    """A counter of a meter that Stripe bills is in the outbox as soon as its change was seen."""
    slug = f"m_{uuid.uuid4().hex[:8]}"
    nilometer("meter", "create", slug, "--unit", "call", "--aggregation", "sum", "--stripe-event-name", "calls")
    nilometer("usage", "send", "--workspace", workspace, "--meter", slug, "--quantity", "4")
    nilometer("wait")

    [waits] = [one for one in nilometer("usage", "outbox", "--json").lines if one["workspace"] == workspace]
    assert (waits["meter"], waits["sent"], waits["pending"]) == (slug, "0", None)
    assert slug in nilometer("usage", "outbox").out
    refused = nilometer("usage", "outbox", "--sent", "nothing")
    assert (refused.code, "no delta nothing waits" in refused.err) == (1, True)
    assert nilometer("usage", "outbox", "--sent", "a", "--send-again", "b").code == 2


@pytest.mark.parametrize("aggregation", ["max", "latest", "unique"])
def test_a_voided_level_is_said_with_what_to_do(nilometer: Any, workspace: str, aggregation: str) -> None:
    """What was voided may have been the greatest, the last or the only one: a field for machines, a line for people."""
    meter, id_ = f"m_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    unique = aggregation == "unique"
    made = ("meter", "create", meter, "--unit", "seat", "--aggregation", aggregation)
    assert nilometer(*made, *(("--dimension", "user") if unique else ())).code == 0
    sent = ("usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "9", "--id", id_)
    assert nilometer(*sent, *(("--dimension", "user=ada") if unique else ())).code == 0
    nilometer("wait")
    source = "/nilometer/cli"
    assert nilometer("usage", "void", "--source", source, "--id", id_, "--workspace", workspace).code == 0
    nilometer("wait")

    [shown] = [one for one in nilometer("usage", "show", workspace, "--json").json["meters"] if one["meter"] == meter]
    people = nilometer("usage", "show", workspace)

    assert shown["stale"] is True
    assert f"{meter}: usage was voided" in people.err
    assert f"nilometer usage recount {workspace} --apply" in people.err


def test_a_hard_limit_without_an_included_amount_is_shown(nilometer: Any, workspace: str) -> None:
    """In percent of what binds, in the list of all workspaces, and by the recipe."""
    meter = f"m_{uuid.uuid4().hex[:8]}"
    assert nilometer("meter", "create", meter, "--unit", "call", "--aggregation", "sum").code == 0
    assert nilometer("limit", "override", workspace, meter, "--hard", "200").code == 0
    assert nilometer("usage", "send", "--workspace", workspace, "--meter", meter, "--quantity", "180").code == 0
    nilometer("wait")

    [shown] = [one for one in nilometer("usage", "show", workspace, "--json").json["meters"] if one["meter"] == meter]
    [listed] = [one for one in nilometer("billing", "list", "--json").lines if one["workspace"] == workspace]
    recipe = nilometer("query", "--recipe", "usage-against-limits", "--json").lines

    assert (shown["limit"], shown["hard"], shown["state"]) == ("200", "200", "warning")
    assert "90 %" in nilometer("usage", "show", workspace).out
    assert listed["limits"][meter] == 200
    assert [one for one in recipe if one["workspace_id"] == workspace and one["meter"] == meter]


def test_usage_that_stripe_refused_later_is_listed_and_sent_again_once(
    nilometer: Any, stack: Any, workspace: str
) -> None:
    """By its identifier, with Stripe's code; a decision that was made already is refused."""
    identifier, start = uuid.uuid4().hex + "01234567", "2026-11-01T00:00:00.000Z"
    key = {"pk": f"WORKSPACE#{workspace}", "sk": f"METERED#api_calls#{start}"}
    refused = {identifier: {"value": 2, "code": "archived_meter", "report": "evt_1", "at": "2026-11-23T12:00:00.000Z"}}
    item = {
        **key,
        "kind": "metered",
        "version": 1,
        "workspace_id": workspace,
        "meter": "api_calls",
        "period_start": start,
        "period_end": "2026-12-01T00:00:00.000Z",
        "sent": 5,
        "number": 1,
        "changed": False,
        "refused": refused,
        "gsi1pk": "OUTBOX",
        "gsi1sk": f"{key['pk']}#{key['sk']}",
    }
    session = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="a", region_name=stack.about["region"])
    dynamodb = session.resource("dynamodb", endpoint_url=stack.about["aws_endpoint_url"])
    dynamodb.Table(stack.about["records_table"]).put_item(Item=item)

    def listed() -> list[Any]:
        return [one for one in nilometer("usage", "outbox", "--json").lines if one["workspace"] == workspace]

    before = listed()
    again = [nilometer("usage", "outbox", "--send-again", identifier).code for _ in range(2)]

    assert [(one["identifier"], one["pending"], one["sent"], one["refused"]) for one in before] == [
        (identifier, "2", "5", "archived_meter")
    ]
    assert again == [0, 1]
    assert [(one["identifier"], one["sent"], one["refused"]) for one in listed()] == [(None, "3", None)]

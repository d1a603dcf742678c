"""Operations in the browser: what got stuck, why, and the way back."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from tests.support.command_line import Local
from tests.support.stack.still import still
from tests.support.stack.visit import InsideVisit, Reply, Visit
from tests.support.stores.memory import MemoryObjects, MemoryStore

from nilometer.aws.dynamodb import Store
from nilometer.cli.console.wiring import bill
from nilometer.console.app import application
from nilometer.console.http import formats
from nilometer.console.http.visitor import LaptopGate
from nilometer.domain.billing.coverage import TypePass
from nilometer.domain.store.times import rfc3339
from nilometer.domain.store.writes import Key, Table
from nilometer.domain.stripe.event import Scope
from nilometer.local.demo.stage import STAGES
from nilometer.local.plane.deployed import logical
from nilometer.local.plane.engine import REGION


def test_a_dead_letter_is_redriven_in_the_browser(tab: Any, dead_letter: Any, ask: Any) -> None:
    """It is listed with its queue; after the button it counts, and lies there no more."""
    letter = dead_letter("dead-1")
    before = ask("usage", "show", "giza", "--json").json["meters"][0]["count"]

    tab.goto("/operations")
    assert "UsageDeadLetters" in tab.locator("#letters tr:has-text('dead-1')").inner_text()
    tab.wait_for_load_state()
    tab.click("#letters tr:has-text('dead-1') >> text=Redrive")
    tab.wait_for_selector("#letters >> text=sent back")

    ask("wait")
    assert ask("usage", "show", "giza", "--json").json["meters"][0]["count"] == before + 1
    assert letter not in ask("dlq", "list", "--json").out


def seen_again(ask: Callable[[], Reply]) -> Reply:
    """A letter that somebody looks at is there again in a moment."""
    deadline = time.monotonic() + 30
    while (reply := ask()).status == 404 and time.monotonic() < deadline:
        time.sleep(0.2)
    return reply


def test_a_letter_is_shown_redacted_and_deleted(visit: Visit, dead_letter: Any, ask: Any) -> None:
    """The payload as it arrived is for an Admin alone; deleted it is gone."""
    body = json.dumps({"detail-type": "x", "detail": {"id": "dead-2", "email": "ann@example.com"}})
    letter = dead_letter("dead-2", body)
    path = f"/operations/letter?id={letter}"

    assert "ann@example.com" in visit.get(path).text
    analyst = seen_again(lambda: Visit(visit.url).look_as("Analyst").get(path))
    assert (analyst.status, "ann@example.com" in analyst.text) == (200, False)

    form = {"queue": "UsageDeadLetters", "id": letter}
    gone = seen_again(lambda: visit.post("/letters/purge", form, hx_request="true"))

    assert (gone.status, "deleted" in gone.text) == (200, True)
    assert letter not in ask("dlq", "list", "--json").out
    assert visit.post("/letters/purge", {"queue": "UsageDeadLetters", "id": letter}).status == 404
    assert visit.post("/letters/redrive", {"queue": "Nowhere", "id": letter}).status == 400


def test_verify_and_doctor_say_what_the_commands_say(visit: Visit, ask: Any) -> None:
    """Each check with its verdict. A record that expires meanwhile is compared in one of them and not in the next."""
    ask("wait")
    before = ask("verify", "--json").lines
    verified = visit.post("/operations/verify").text
    after = ask("verify", "--json").lines
    assert all(report["check"].replace("_", " ") in verified for report in before)
    assert any(all(f">{report['compared']:,}<" in verified for report in said) for said in (before, after))
    checked = visit.post("/operations/doctor").text
    for finding in ask("doctor", "--json").lines:
        if finding["check"] in {"queues", "mappings", "deployment"}:
            assert finding["check"] in checked


def cells(page: str, first: str) -> list[list[str]]:
    """The rows of each table whose heading begins so, as people read them."""
    tables = [one for one in page.split("<table>") if re.search(rf"<th[^>]*>{re.escape(first)}", one)]
    rows = [row for table in tables for row in table.partition("</table>")[0].split("<tr")[2:]]
    return [[_plain(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)] for row in rows]


def _plain(text: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))).strip()


def test_queues_and_lag_are_the_command_lines(visit: Visit, dead_letter: Any, ask: Any) -> None:
    """Each queue, each stream and each letter that lies dead, as `nilometer status` counts them."""
    letter = dead_letter("counted-1")
    ask("wait")
    told = ask("status", "--json").json
    page = visit.get("/operations").text

    queues = {name: counts for name, *counts in cells(page, "queue")}
    for name, count in told["queues"].items():
        assert queues[logical(name)] == [str(count[state]) for state in ("visible", "in_flight", "delayed")]
    for name, count in told["dead_letters"].items():
        assert queues.get(f"{logical(name)} dead letters", ["0"])[0] == str(count)
    assert sum(told["dead_letters"].values()) == 1
    assert {row[0]: row[1] for row in cells(page, "stream of")} == {
        logical(name): str(lag) for name, lag in told["streams"].items()
    }
    assert visit.post("/letters/purge", {"queue": "UsageDeadLetters", "id": letter}).status == 303


def test_letters_and_rejects_are_the_command_lines(visit: Visit, dead_letter: Any, ask: Any) -> None:
    """Each with its reason."""
    letter = dead_letter("counted-2")
    listed = visit.get("/operations/letters").text
    time.sleep(1)

    for one in ask("dlq", "list", "--json").lines:
        assert all(str(one[name]) in html.unescape(listed) for name in ("id", "queue", "type") if one.get(name))
    rejects = html.unescape(visit.get("/operations/rejects").text)
    rows = ask("rejects", "list", "--json").lines
    assert rows
    assert len(cells(rejects, "when")) == len(rows)
    assert all(str(one["event_id"]) in rejects for one in rows)
    assert visit.post("/letters/purge", {"queue": "UsageDeadLetters", "id": letter}).status == 303


def test_coverage_is_the_command_lines(visit: Visit, month: Local, ask: Any) -> None:
    """What was compared, what a pass is in, what the key may not read and what is overdue, in both modes."""
    store, now = records_of(month), datetime.now(UTC)
    old, new = rfc3339(now - timedelta(days=3)), rfc3339(now - timedelta(hours=3))
    passes = [
        TypePass(object_type="customer", first_started_at=old, covered_at=new, pages=124, compared=12_345, drift=3),
        TypePass(object_type="subscription", first_started_at=old, covered_at=old, started_at=new, pages=1, compared=7),
        TypePass(object_type="invoice", first_started_at=old, covered_at=new, refused=True),
        TypePass(object_type="product", first_started_at=new, started_at=new, listed=True, compared=2),
    ]
    scopes = [Scope(livemode=live) for live in (True, False)]
    items = [one.item(scope, updated_at=new) for scope in scopes for one in passes]
    store.put_all(Table.EVENTS, items)
    try:
        page = visit.get("/operations/reconcile").text
        told = {live: ask("reconcile", "status", *live, "--json") for live in ((), ("--live",))}
    finally:
        store.delete_all(Table.EVENTS, [Key(item["pk"], item["sk"]) for item in items])

    for live, answer in told.items():
        rows = cells(page, "live mode" if live else "test mode")
        assert answer.code == 3
        assert [row[1:] for row in rows] == [
            [
                *(_plain(str(formats.time(one[name]))) for name in ("covered_at", "started_at")),
                *(formats.number(one[name]) for name in ("pages", "compared", "drift")),
            ]
            for one in answer.lines
        ]
        assert [row[0] for row in rows] == [_named(one) for one in answer.lines]


def _named(one: dict[str, Any]) -> str:
    said = {"overdue": "overdue", "refused": "the key may not read it", "listed": "looks for what is missing"}
    states = [text for name, text in said.items() if one[name]]
    return " ".join([str(one["object_type"]).replace("_", " "), *states[:1]])


def records_of(month: Local) -> Store:
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    client: Any = session.client("dynamodb", endpoint_url=month.about["aws_endpoint_url"])
    return Store(client, records=month.about["records_table"], events=month.about["events_table"])


def test_rates_of_a_bill_are_those_of_the_last_days(visit: Visit) -> None:
    """Unless others are asked for; what is no rate is refused."""
    part = visit.get("/operations/cost").text
    rates = dict(re.findall(r'name="(stripe|usage)" value="([^"]+)"', part))

    assert all(re.fullmatch(r"[0-9]+/day", rate) for rate in rates.values())
    assert len(rates) == 2
    for wrong in ("300", "x/day", "1/day; rm", "-1/day", ""):
        assert visit.post("/operations/bill", {"stripe": wrong, "usage": "1/day"}).status == 400


def test_the_page_shows_the_bill_of_the_command(tmp_path: Path) -> None:
    """To the cent and in its order, at the parameters of the stack; a small company's is at most five dollars. What
    comes every month and what 1,000 events a day add are the total; all of it is named."""
    told: dict[str, Any] = {}

    def counted(stripe: str, usage: str) -> dict[str, Any]:
        told.update(bill(stripe, usage, STAGES["small"]))
        return told

    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    place = still(MemoryStore(), MemoryObjects(), lake, bill=counted)  # type: ignore[arg-type]  # as its readers ask
    inside = InsideVisit("", app=application(place, gate=LaptopGate()))

    page = inside.post("/operations/bill", {"stripe": "300/day", "usage": "700/day"}).text

    lines = sorted(told["lines"], key=lambda line: (not line["fixed"], -line["usd"]))
    when = {True: "every month", False: "with the events"}
    assert cells(page, "what") == [[one["what"], when[one["fixed"]], f"{one['usd']:.2f}"] for one in lines]
    assert all(f"<b>${told[name]:.2f}</b>" in page for name in ("usd_per_month", "fixed", "variable"))
    assert all(one in html.unescape(page) for one in told["assumed"])
    given = " ".join(f"--parameter {name}={value}" for name, value in STAGES["small"].items())
    assert f"nilometer cost --stripe 300/day --usage 700/day {given}<" in page
    named = {line["what"] for line in lines}
    assert {"alarms", "polls of idle queues", "secrets", "upkeep of the lake", "commits of the lake"} <= named
    assert {"storage and archive", "metrics of our own", "logs of Lambda itself", "changes of records"} <= named
    assert round(told["fixed"] + told["variable"], 2) == told["usd_per_month"]
    assert 3 < told["fixed"] <= 3.3
    assert told["variable"] > 0.3
    assert told["usd_per_month"] <= 5


def test_every_queue_and_schedule_is_named(visit: Visit) -> None:
    """By the names of the template."""
    assert all(name in visit.get("/operations").text for name in ("BillingQueue", "UsageQueue", "LakeAuditQueue"))
    schedules = visit.get("/operations/schedules").text
    assert all(name in schedules for name in ("Maintenance", "Reconcile", "cron("))


@pytest.mark.parametrize(
    "path",
    [
        "/operations",
        "/operations/letters",
        "/operations/letter?id=x",
        "/operations/rejects",
        "/operations/schedules",
        "/operations/reconcile",
        "/operations/cost",
    ],
)
def test_operations_are_for_who_sees_the_whole_stack(visit: Visit, path: str) -> None:
    """Neither a Viewer nor an Admin of one workspace."""
    assert visit.look_as("Viewer").get(path).status == 403
    assert visit.look_as("Admin", "memphis").get(path).status == 403


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ExpiredToken", "Message": "The token is expired"}}, "GetQueueAttributes"),
        NoCredentialsError(),
    ],
)
def test_a_refusal_of_aws_is_said(tmp_path: Path, error: Exception) -> None:
    """A session that expired is no defect of the page: what AWS said stands there, as in the command line."""

    def status() -> Any:
        raise error

    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    place = still(MemoryStore(), MemoryObjects(), lake, status=status)  # type: ignore[arg-type]  # as its readers ask

    answer = InsideVisit("", app=application(place, gate=LaptopGate())).get("/operations")

    assert answer.status == 503
    assert f"AWS: {error}" in html.unescape(answer.text)


def test_a_refusal_of_aws_says_nothing_of_the_account_to_a_customer(tmp_path: Path) -> None:
    """Who sees one workspace may be its member; AWS names the account, roles and tables."""
    said = "User: arn:aws:sts::123456789012:assumed-role/console is not authorized to perform: sqs:ReceiveMessage"

    def boxes() -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": said}}, "ReceiveMessage")

    lake = {"lake_uri": str(tmp_path), "storage_options": {}}
    place = still(MemoryStore(), MemoryObjects(), lake, boxes=boxes)  # type: ignore[arg-type]  # as its readers ask
    visit = InsideVisit("", app=application(place, gate=LaptopGate()))

    answers = [visit.get("/event?name=evt_1"), visit.look_as("Admin", "memphis").get("/event?name=evt_1")]

    assert [one.status for one in answers] == [503, 503]
    assert ["123456789012" in one.text for one in answers] == [True, False]

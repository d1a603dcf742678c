"""The steps of events, from log lines alone."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.stack.loop import run_async

from nilometer.console.events import pages
from nilometer.console.events.feed import CLOUD_SECONDS, TAIL_BYTES, CloudLogs, LogFolder
from nilometer.console.events.timeline import KEPT, EventFilter, EventLife, Timeline, sightings
from nilometer.console.http.formats import anchor
from nilometer.local.plane.engine import REGION, Engine

ALL = EventFilter()


class Told:
    """A feed that tells what a test put in."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)

    def poll(self) -> Iterable[str]:
        told, self.lines = self.lines, []
        return told


def line(message: str, second: int = 0, **fields: Any) -> str:
    return json.dumps({"message": message, "timestamp": f"2026-11-29 05:08:{second:02},123+0000", **fields})


def timeline(*lines: str) -> Timeline:
    made = Timeline(Told(*lines))
    made.refresh()
    return made


STRIPE = (
    line("webhook.accepted", 1, event_id="evt_1", type="invoice.paid"),
    line("billing.accepted", 2, event_id="evt_1", type="invoice.paid"),
    line("limits.ignored", 2, event_id="evt_1", workspace_id="acme"),
    line("lake.accepted", 4, event_ids="evt_0 evt_1", table="stripe_events"),
)


def test_lines_of_one_event_are_one_life() -> None:
    """Its stages by flow, its workspace from whichever line knows it."""
    [life] = timeline(*STRIPE).newest(ALL)

    assert (life.event_id, life.type, life.workspace_id, life.outcome) == ("evt_1", "invoice.paid", "acme", "accepted")
    assert list(life.stages) == ["webhook", "billing", "lake"]


@given(st.permutations(STRIPE))
def test_the_order_of_lines_does_not_matter(lines: list[str]) -> None:
    """Files are read one after the other; only the revision is a matter of when they were read."""
    [shuffled], [ordered] = timeline(*lines).newest(ALL), timeline(*STRIPE).newest(ALL)
    assert replace(shuffled, revision=0) == replace(ordered, revision=0)


def test_a_stage_without_a_line_was_passed_when_a_later_one_was() -> None:
    """Lines may be older than what is kept of a log."""
    [life] = timeline(*STRIPE).newest(ALL)
    [begun] = timeline(*STRIPE[:1]).newest(ALL)

    assert [life.at_stage(flow) for flow in life.path] == ["accepted", "accepted", "passed", "accepted"]
    assert [begun.at_stage(flow) for flow in begun.path] == ["accepted", "not yet", "not yet", "not yet"]


def test_a_refusal_without_an_id_is_an_event_of_its_own() -> None:
    """A forged webhook has no id that could be believed."""
    [life] = timeline(line("webhook.rejected", request_id="r", reason="invalid_signature")).newest(ALL)

    assert (life.event_id, life.outcome, life.reason) == (None, "rejected", "invalid_signature")


def test_a_dropped_copy_does_not_hide_that_the_event_was_accepted() -> None:
    """The stage keeps what the event came to."""
    copy = line("billing.duplicate", 9, event_id="evt_1", type="invoice.paid")

    [life] = timeline(*STRIPE, copy).newest(ALL)

    assert life.stages["billing"].outcome == "accepted"


def test_only_what_changed_since_a_revision_is_told_again() -> None:
    """What a browser has seen it does not get twice."""
    feed = Told(*STRIPE, line("usage.accepted", 5, event_id="u-1", source="/s", workspace_id="acme"))
    lives = Timeline(feed)
    lives.refresh()
    seen = lives.revision
    feed.lines = [line("changes.accepted", 6, event_id="u-1")]

    lives.refresh()

    assert [life.event_id for life in lives.newest(ALL, since=seen)] == ["u-1"]


def test_what_another_viewer_takes_in_meanwhile_comes_with_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the rows of one stream and its note of how far it is, a page of somebody else reads the feed."""
    feed = Told(line("webhook.accepted", 1, event_id="evt_1", type="invoice.paid"))
    lives = Timeline(feed)

    def overtaken(*asked: Any, **more: Any) -> list[EventLife]:
        found = Timeline.newest(lives, *asked, **more)
        feed.lines.append(line("webhook.accepted", 2, event_id="evt_2", type="invoice.paid"))
        lives.refresh()
        return found

    async def stays() -> bool:
        return False

    state = SimpleNamespace(timeline=lives, streams=False)
    request: Any = SimpleNamespace(app=SimpleNamespace(state=state), is_disconnected=stays)
    monkeypatch.setattr(pages, "render", lambda *_, lives: " ".join(life.event_id for life in lives))

    async def told(since: int) -> str:
        return "".join([part async for part in pages._changes(request, ALL, since)])

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(lives, "newest", overtaken)
        first = run_async(told(0))
    [seen] = re.findall(r"^id: (\d+)$", first, re.MULTILINE)

    assert "data: evt_1\n" in first
    assert "data: evt_2\n" in run_async(told(int(seen)))


def test_a_filter_leaves_what_fulfils_all_of_it() -> None:
    """Type and text are parts, the others exact."""
    lives = timeline(*STRIPE, line("usage.rejected", 5, event_id="u-1", source="/s", reason="unknown_meter"))

    def ids(**wanted: str) -> list[str | None]:
        return [life.event_id for life in lives.newest(EventFilter(**wanted))]

    assert ids(type="invoice") == ["evt_1"]
    assert ids(workspace_id="acme") == ["evt_1"]
    assert ids(outcome="rejected") == ["u-1"]
    assert ids(text="unknown_m", kind="usage") == ["u-1"]
    assert ids(kind="usage", outcome="accepted") == []


def test_two_senders_may_use_one_id() -> None:
    """Each has its own event: nobody reads the other's workspace and reason, and later lines are of both."""
    ours = {"event_id": "req_1", "source": "/services/a", "workspace_id": "acme"}
    theirs = {"event_id": "req_1", "source": "/services/b", "workspace_id": "globex"}
    lives = timeline(
        line("usage.accepted", 1, **ours),
        line("usage.rejected", 2, **theirs, reason="unknown_meter"),
        line("lake.accepted", 3, event_ids="req_1"),
        line("usage.duplicate", 4, **ours),
    )

    [first] = lives.newest(EventFilter(workspace_id="acme"))
    [second] = lives.newest(EventFilter(workspace_id="globex"))

    assert (first.name, first.outcome, first.reason) == ("/services/a#req_1", "accepted", None)
    assert (second.name, second.outcome, second.reason) == ("/services/b#req_1", "rejected", "unknown_meter")
    assert first.key != second.key
    assert first.at_stage("lake") == "accepted"
    for name in ("/services/a#req_1", "req_1", first.key):
        assert lives.find(name, "acme") == first
    assert lives.find("/services/b#req_1", "acme") is None
    assert lives.find("/services/b#req_1") == second


def test_one_sender_may_use_one_id_for_two_workspaces() -> None:
    """The second is refused by the counters; the first workspace reads nothing of it."""
    lives = timeline(
        line("usage.accepted", 1, event_id="req_1", source="/s", workspace_id="acme"),
        line("usage.rejected", 2, event_id="req_1", source="/s", workspace_id="globex", reason="id_reuse"),
    )

    assert [one.outcome for one in lives.newest(EventFilter(workspace_id="acme"))] == ["accepted"]
    assert [one.outcome for one in lives.newest(EventFilter(workspace_id="globex"))] == ["rejected"]


def test_long_ids_have_rows_of_their_own() -> None:
    """A row that arrives replaces the one with its anchor."""
    assert anchor("a" * 100 + "1") != anchor("a" * 100 + "2")


def test_memory_is_bounded() -> None:
    """The newest are kept."""
    lines = [line("usage.accepted", 1, event_id=f"u-{number}", source="/s") for number in range(KEPT + 10)]

    kept = timeline(*lines)

    assert len(kept.newest(ALL, limit=KEPT * 2)) == KEPT
    assert [bool(kept.find(one)) for one in ("u-9", "u-10", "/s#u-10")] == [False, True, True]


@given(st.one_of(st.text(), st.dictionaries(st.text(), st.integers()).map(json.dumps)))
def test_any_line_is_read_without_an_error(text: str) -> None:
    """A function's log has Lambda's own lines and other people's too."""
    assert all(one.flow for one in sightings(text))


def test_a_log_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    """Whole lines once each, also when a line is half written, and anew when the file was begun anew."""
    log, feed = tmp_path / "f.log", LogFolder(tmp_path)
    log.write_text("one\ntwo\nthr")
    assert feed.poll() == ["one", "two"]
    with log.open("a") as file:
        file.write("ee\n")
    assert feed.poll() == ["three"]
    assert feed.poll() == []
    log.write_text("new\n")
    assert feed.poll() == ["new"]


def test_of_a_long_log_its_end_is_read(tmp_path: Path) -> None:
    """The first look costs the same however long the stack has run."""
    (tmp_path / "f.log").write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * (TAIL_BYTES // 100))

    assert len(list(LogFolder(tmp_path).poll())) == TAIL_BYTES // 100


def test_lines_of_cloudwatch_make_lives(aws: Engine) -> None:
    """Of every group that may be read; asked again at once it is not asked; a line that comes twice counts once."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    logs = session.client("logs", endpoint_url=aws.endpoint_url)
    group, now = f"/test/{uuid.uuid4().hex}", datetime.now(UTC)
    said = {"message": "usage.accepted", "timestamp": f"{now:%Y-%m-%d %H:%M:%S},000+0000", "event_id": "u-1"}
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    events = [{"timestamp": int(now.timestamp() * 1000), "message": json.dumps(said)}]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    lines = CloudLogs(logs, [group, "/test/not-there"])
    lives = Timeline(lines)

    lives.refresh()

    assert [life.event_id for life in lives.newest(ALL)] == ["u-1"]
    assert list(lines.poll()) == []
    lines._next = 0.0
    assert len(list(lines.poll())) == 1
    assert CLOUD_SECONDS >= 1

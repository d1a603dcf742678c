"""A batch of messages lands exactly once, and what cannot land is kept with its reason."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.lake.build import KEYS, NOW, ask, change, event, packed, stripe_event, usage

from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.errors import Unavailable
from nilometer.flows.lake import append as flow
from nilometer.lake.write.append import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


def land(lake: Lake, objects: Objects, *bodies: str, seconds: float = 30) -> list[Result]:
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    return flow.append(messages, lake=lake, objects=objects, keys=KEYS, now=NOW, deadline=time.monotonic() + seconds)


def outcomes(results: list[Result]) -> list[Outcome]:
    return [result.outcome for result in results]


def kept(objects: Objects) -> list[dict[str, Any]]:
    listed = objects._client.list_objects_v2(Bucket=objects.bucket, Prefix="rejects/lake/")
    return [msgspec.json.decode(objects.get(found["Key"])) for found in listed.get("Contents", [])]


def test_one_batch_fills_several_tables(lake: Lake, objects: Objects) -> None:
    """Packed rows and single changes, each in its table by one commit."""
    results = land(
        lake,
        objects,
        packed("usage", usage("u1"), usage("u2")),
        packed("stripe_events", stripe_event("evt_1")),
        event(change("c1")),
        event(change("c2")),
    )

    assert outcomes(results) == [Outcome.ACCEPTED] * 4
    assert results[0].fields == {"table": "usage", "rows": 2, "new": 2, "rejected": 0, "event_ids": "u1 u2"}
    assert ask(
        lake, "select (select count(*) from usage), (select count(*) from stripe_events), count(*) from audit"
    ) == [(2, 1, 2)]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"rows": [usage("u1")], "table": "usage"}),
        json.dumps({"table": "usage", "rows": [usage("u1")], "producer": "newer"}, indent=2),
        json.dumps({"table": "usage", "rows": [usage("ü1")]}, ensure_ascii=False),
    ],
    ids=["rows first", "more names", "not ASCII"],
)
def test_a_packed_message_may_look_otherwise(lake: Lake, objects: Objects, body: str) -> None:
    """What does not begin as the changes flow writes it is only slower to read."""
    [result] = land(lake, objects, body)

    assert (result.fields["table"], result.fields["rows"], result.fields["new"]) == ("usage", 1, 1)


def test_a_change_is_logged_with_the_event_that_caused_it(lake: Lake, objects: Objects) -> None:
    """A search of the logs for an event finds its effects in the lake too."""
    [result] = land(lake, objects, event(change("c1", cause="evt_1")))

    assert result.fields["event_ids"] == "evt_1"


def test_a_redelivered_batch_is_a_duplicate(lake: Lake, objects: Objects) -> None:
    bodies = [packed("usage", usage("u1")), event(change("c1"))]
    land(lake, objects, *bodies)

    assert outcomes(land(lake, objects, *bodies)) == [Outcome.DUPLICATE] * 2


def test_a_row_in_two_messages_is_new_in_one(lake: Lake, objects: Objects) -> None:
    results = land(lake, objects, packed("usage", usage("u1")), packed("usage", usage("u1"), usage("u2")))

    assert [result.fields["new"] for result in results] == [1, 1]
    assert ask(lake, "select count(*) from usage") == [(2,)]


@pytest.mark.parametrize(
    "bad",
    [
        usage("bad", quantity="1e5"),
        usage("bad", quantity="0.0000000001"),
        usage("bad", quantity="+5"),
        usage("bad", quantity=str(10**15)),
        usage("bad", quantity=None),
        usage("bad", time="yesterday"),
        usage("bad", time="2026-02-30T00:00:00Z"),
        usage("bad") | {"created": -1},
        usage("bad") | {"created": 10**15},
        usage("bad") | {"created": "1795392000"},
        {"event_id": "bad"},
        "no row",
    ],
    ids=str,
)
def test_a_bad_row_is_kept_and_its_neighbours_land(lake: Lake, objects: Objects, bad: Any) -> None:
    """The message is not delivered again: nothing would change."""
    body = json.dumps({"table": "usage", "rows": [usage("good1"), bad, usage("good2")]})

    results = land(lake, objects, body, packed("usage", usage("good3")))

    assert outcomes(results) == [Outcome.REJECTED, Outcome.ACCEPTED]
    assert ask(lake, "select event_id from usage order by 1") == [("good1",), ("good2",), ("good3",)]
    [reject] = kept(objects)
    assert (reject["reason"], json.loads(reject["content"])) == ("invalid_row", {"table": "usage", "rows": [bad]})


@pytest.mark.parametrize(
    "bad",
    [
        usage("bad", quantity="1e5"),
        usage("bad", quantity=None),
        usage("bad", time="2026-02-30T00:00:00Z"),
        usage("bad") | {"created": 10**15},
        usage("bad") | {"created": "1795392000"},
        usage("bad", dimensions="x", source=None),
    ],
    ids=str,
)
def test_a_bad_row_among_packed_ones_is_kept_and_its_neighbours_land(lake: Lake, objects: Objects, bad: Any) -> None:
    """Columns are read at once; what is wrong in one of them is found row by row."""
    body = packed("usage", usage("good1"), bad, usage("good2"))

    results = land(lake, objects, body, packed("usage", usage("good3")))

    assert outcomes(results) == [Outcome.REJECTED, Outcome.ACCEPTED]
    assert (results[0].fields["rows"], results[0].fields["new"], results[0].fields["rejected"]) == (2, 2, 1)
    assert ask(lake, "select event_id from usage order by 1") == [("good1",), ("good2",), ("good3",)]
    [reject] = kept(objects)
    assert (reject["reason"], reject["event_id"]) == ("invalid_row", "bad")


def test_of_many_changes_the_bad_ones_are_kept(lake: Lake, objects: Objects) -> None:
    """Each came in a message of its own, and all are read at once."""
    bad = {3, 4, 40}
    bodies = [event(change(f"c{n}", occurred_at="never" if n in bad else "2026-11-23T00:00:00Z")) for n in range(50)]

    results = land(lake, objects, *bodies)

    assert {n for n, outcome in enumerate(outcomes(results)) if outcome is Outcome.REJECTED} == bad
    assert ask(lake, "select count(*), count(distinct change_id) from audit") == [(47, 47)]
    [rows] = zip(*(json.loads(one["content"])["rows"] for one in kept(objects)), strict=True)
    assert {row["change_id"] for row in rows} == {f"c{n}" for n in bad}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        '{"table": "nowhere", "rows": []}',
        "{}",
        '{"table": "usage", "rows": 5}',
        '{"type": "record.changed.v1"}',
        '{"table": "usage", "columns": 5}',
        '{"table": "usage", "columns": {"event_id": ["u1"], "created": []}}',
        '{"table": "usage", "columns": {"event_id": {"dictionary": [], "indices": "AA=="}}}',
        '{"table": "usage\ud800"}',
    ],
)
def test_a_body_that_is_nothing_is_kept(lake: Lake, objects: Objects, body: str) -> None:
    results = land(lake, objects, body, packed("usage", usage("u1")))

    assert outcomes(results) == [Outcome.REJECTED, Outcome.ACCEPTED]
    assert len(kept(objects)) == 1


def test_payloads_stay_as_they_came(lake: Lake, objects: Objects) -> None:
    """Not a digit of JSON is rewritten on the way."""
    payload = '{"b":1.10,"a":[1e2,"\\u00fc"],"big":123456789012345678901234567890}'
    body = packed("stripe_events", stripe_event("evt_1", payload="@")).replace('"@"', payload)

    land(lake, objects, body)

    assert ask(lake, "select payload from stripe_events") == [(payload,)]


def test_a_table_that_cannot_be_written_fails_its_own_messages(lake: Lake, objects: Objects) -> None:
    """The neighbour's table is written; these are delivered again."""
    broken = Path(lake.uri) / "usage" / "_delta_log"
    broken.mkdir(parents=True)
    (broken / "00000000000000000000.json").write_text("no log")

    results = land(lake, objects, packed("usage", usage("u1")), event(change("c1")), seconds=0.2)

    assert outcomes(results) == [Outcome.FAILED, Outcome.ACCEPTED]


def test_a_reject_that_cannot_be_kept_is_delivered_again(
    lake: Lake, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that arrived is lost because S3 was away."""

    def away(*_: Any) -> str:
        raise Unavailable("S3 is away")

    monkeypatch.setattr(objects, "put", away)

    assert outcomes(land(lake, objects, "{", packed("usage", usage("u1")))) == [Outcome.FAILED, Outcome.ACCEPTED]


def test_an_empty_batch_of_rows_commits_nothing(lake: Lake, objects: Objects) -> None:
    assert outcomes(land(lake, objects, packed("usage"))) == [Outcome.DUPLICATE]
    assert not Path(lake.uri).exists()


def test_a_change_that_comes_in_the_buss_envelope_lands(lake: Lake, objects: Objects) -> None:
    """As a dead letter of the bus may hold it: without the rule's InputPath."""
    whole = json.dumps({"detail-type": "record.changed.v1", "detail": json.loads(event(change("c1")))})

    results = land(lake, objects, whole, event(change("c1")))

    assert outcomes(results) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert ask(lake, "select count(*) from audit") == [(1,)]

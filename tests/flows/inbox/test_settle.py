"""The inbox: whatever a message holds, its neighbours end as they would without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.events.outcome import Message, Outcome, Result
from nilometer.domain.events.reject import Reject
from nilometer.domain.store.times import rfc3339
from nilometer.errors import Misconfigured, NotKnownYet, Refused, Rejected, Unavailable
from nilometer.flows.inbox.parcel import Parcel, arrived_at, identity_of
from nilometer.flows.inbox.races import retrying
from nilometer.flows.inbox.rejects import listed
from nilometer.flows.inbox.settle import PATIENCE, RECEIVES, Inbox, alone, inbox, settle, together

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GOOD = "good"

_ERRORS: dict[str, Callable[[], Exception]] = {
    "bug": lambda: ValueError("a secret of the message"),
    "deep": RecursionError,
    "rejected": lambda: Rejected("unit_mismatch", "send calls"),
    "refused": lambda: Refused("the last Admin"),
    "early": lambda: NotKnownYet("unknown_workspace", "no ws"),
    "away": lambda: Unavailable("the engine is away"),
    "operator": lambda: Misconfigured("no table"),
    "network": ConnectionResetError,
}


class Kept(list[Reject]):
    """In the place of the tables."""

    def keep(self, rejects: Iterable[Reject]) -> None:
        kept = list(rejects)
        if any("large" in one.payload for one in kept):
            raise Unavailable("S3 is away")
        self += kept


def envelope(kind: str, *, minutes: float = 0) -> str:
    """A message of the bus that is `minutes` old."""
    at = rfc3339(NOW - timedelta(minutes=minutes))
    detail = {"id": f"e-{kind}", "source": "/a", "type": "t.v1", "subject": "ws"}
    return json.dumps({"id": "bus", "detail-type": "t", "source": "s", "time": at, "kind": kind, "detail": detail})


def kind_of(message: Message) -> str:
    return str(json.loads(message.body)["kind"])


def error_of(kind: str) -> Exception:
    return _ERRORS[kind]()


def run(
    bodies: Sequence[str],
    *,
    kept: Kept | None = None,
    at_opening: bool = False,
    in_groups: bool = False,
    receives: int = 1,
) -> list[Result]:
    """Each kind of `_ERRORS` fails the whole group that it is decided in."""

    def opening(message: Message) -> str:
        kind = kind_of(message)
        if at_opening and kind != GOOD:
            raise error_of(kind)
        return kind

    def deciding(parcels: Sequence[Parcel[str]]) -> None:
        for parcel in parcels:
            if parcel.content != GOOD:
                raise error_of(parcel.content)
        for parcel in parcels:
            parcel.settle(Outcome.ACCEPTED)

    messages = [Message(str(n), body, receives=receives) for n, body in enumerate(bodies)]
    into = Inbox(flow="tried", now=NOW, keep=(kept if kept is not None else Kept()).keep)
    return settle(messages, into, open=opening, decide=deciding, group=together if in_groups else alone)


ENDS = {
    "bug": Outcome.FAILED,
    "deep": Outcome.FAILED,
    "rejected": Outcome.REJECTED,
    "refused": Outcome.WAITING,
    "early": Outcome.WAITING,
    "away": Outcome.FAILED,
    "operator": Outcome.FAILED,
    "network": Outcome.FAILED,
}


@pytest.mark.parametrize("at_opening", [True, False])
@pytest.mark.parametrize("kind", ENDS)
def test_each_ends_by_its_own_reason(kind: str, at_opening: bool) -> None:
    """Its neighbours are accepted; what is the message's own fault is kept, what came too early waits, and what the
    world or our own code is to blame for comes again."""
    kept = Kept()
    results = run([envelope(GOOD), envelope(kind), envelope(GOOD)], kept=kept, at_opening=at_opening)

    assert [one.outcome for one in results] == [Outcome.ACCEPTED, ENDS[kind], Outcome.ACCEPTED]
    assert len(kept) == (ENDS[kind] is Outcome.REJECTED)
    assert results[1].again is (ENDS[kind] is Outcome.WAITING)


@given(st.lists(st.sampled_from([GOOD, "bug", "deep", "rejected", "refused", "early"]), max_size=60))
def test_a_group_is_halved_until_the_reason_stands_alone(kinds: list[str]) -> None:
    """However many odd ones are decided together with good ones, and wherever they are: each ends by itself."""
    results = run([envelope(kind) for kind in kinds], in_groups=True)

    assert [one.outcome for one in results] == [ENDS.get(kind, Outcome.ACCEPTED) for kind in kinds]
    assert [one.message_id for one in results] == [str(n) for n in range(len(kinds))]


REASONS = [("refused", "refused"), ("early", "unknown_workspace"), ("bug", "unreadable"), ("deep", "unreadable")]


@pytest.mark.parametrize(("kind", "reason"), REASONS)
@pytest.mark.parametrize("by", ["age", "receives"])
def test_what_may_pass_later_comes_again_for_a_bounded_time(kind: str, reason: str, by: str) -> None:
    """What came too early, or what a bad version of ours cannot read. Then it is a reject that says why, and never a
    dead letter, also when the receives of its queue were spent otherwise."""
    minutes, kept = PATIENCE.total_seconds() / 60, Kept()
    [waits] = run([envelope(kind, minutes=minutes - 0.01)], kept=kept, receives=RECEIVES - 1)
    last = run([envelope(kind, minutes=minutes)], kept=kept) if by == "age" else None
    [ends] = last or run([envelope(kind)], kept=kept, receives=RECEIVES)

    assert waits.outcome is ENDS[kind]
    assert waits.outcome is Outcome.FAILED or waits.fields["reason"] == reason
    assert (ends.outcome, ends.fields["reason"]) == (Outcome.REJECTED, reason)
    assert [one.reason for one in kept] == [reason]


def test_an_envelope_from_the_future_does_not_wait_for_ever() -> None:
    """Its time may be a producer's, and any text; the queue knows when it took the message."""
    queued = NOW - timedelta(minutes=11)
    for time in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "nonsense", 7, None, [[]]):
        assert arrived_at(json.dumps({"time": time}), sent_at=queued, now=NOW) == queued
        assert arrived_at(json.dumps({"time": time}), sent_at=None, now=NOW) == NOW


def test_no_text_of_a_strangers_error_is_logged() -> None:
    """It may quote the message; the reject, which is for an operator, names the kind of error alone."""
    [again] = run([envelope("bug")])
    [result] = run([envelope("bug")], receives=RECEIVES)

    assert again.fields == {"error": "ValueError"}
    assert "secret" not in str(result.fields)
    assert result.fields == {
        "event_id": "e-bug",
        "source": "/a",
        "type": "t.v1",
        "workspace_id": "ws",
        "reason": "unreadable",
    }


@pytest.mark.parametrize(
    ("body", "event_id"),
    [
        ('{"id":"bus","detail":{"id":"e1"}}', "e1"),
        ('{"id":"e1"}', "e1"),
        ('{"id":"bus","detail":{"id":7}}', None),
        ('{"id":"bus","detail":{"id":"e1","data":' + "[" * 5_000 + "]" * 5_000 + "}}", "e1"),
        ('{"id":"bus","detail":{"id":"e1", broken', "e1"),
        ('{"id":"bus","detail":{"id":"' + "x" * 5_000 + '"}}', "x" * 253 + "…"),
        ("nonsense", None),
        ("", None),
        ("\ud800", None),
    ],
)
def test_an_identity_is_read_as_far_as_it_can_be(body: str, event_id: str | None) -> None:
    """Before anything is checked, so that `trace` finds what was refused; its length is bounded."""
    assert identity_of(body).event_id == event_id


def test_one_large_reject_harms_no_other(store: Store, objects: Objects) -> None:
    """Its message may quote 450 KB of the payload; all are kept, each within its item."""

    def opening(message: Message) -> str:
        raise Rejected("invalid_schema" * 500, f"type {message.body} is unknown")

    into = inbox("usage", store=store, objects=objects, now=NOW)
    bodies = ["a", "\ud83d" + "é" * 450_000, "b"]
    results = settle([Message(body[:1], body) for body in bodies], into, open=opening, decide=_nothing)

    rows = {row["message"][:6]: row for row in listed(store, "usage", since=NOW, now=NOW)}
    assert [one.outcome for one in results] == [Outcome.REJECTED] * 3
    assert len(rows) == 3
    assert all(len(str(row)) < 4_000 for row in rows.values())


def test_what_cannot_be_kept_comes_again_alone() -> None:
    """The bucket may be away for the one that needs it; the others are kept."""
    kept, large = Kept(), json.dumps({**json.loads(envelope("bug")), "pad": "large"})
    results = run([envelope("bug"), large, envelope(GOOD)], kept=kept, receives=RECEIVES)

    assert [one.outcome for one in results] == [Outcome.REJECTED, Outcome.FAILED, Outcome.ACCEPTED]
    assert len(kept) == 1


def test_a_retry_ends_when_time_is_over() -> None:
    """`until` is asked after each lost race; the last error is raised."""
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        retrying(attempt, on=Unavailable, until=lambda: len(calls) == 2)
    assert len(calls) == 2


def _nothing(_parcels: Sequence[Parcel[str]]) -> None:
    raise AssertionError("nothing was opened")

"""A dead letter is tried again three times, later each time, and a batch of a stream for a day."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from nilometer.domain.recovery.dead_letter import DeadLetter
from nilometer.domain.recovery.redrive import EVERY, TRIES, WAITS, is_batch_due, is_due

SENT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def letter(**attributes: str) -> DeadLetter:
    return DeadLetter(
        queue="UsageDeadLetters",
        id="1",
        type=None,
        event_id=None,
        reason=None,
        sent_at=SENT,
        first_failed_at=None,
        last_failed_at=SENT,
        receives=5,
        attributes=attributes,
    )


@pytest.mark.parametrize("done", range(len(WAITS)))
def test_each_try_waits_longer_than_the_one_before(done: int) -> None:
    """Since the letter was sent the last time; not a second earlier."""
    tried = letter(**{TRIES: str(done)})

    assert not is_due(tried, now=SENT + WAITS[done] - timedelta(seconds=1))
    assert is_due(tried, now=SENT + WAITS[done])
    assert list(WAITS) == sorted(WAITS)


@pytest.mark.parametrize("said", ["3", "17", "many", "-1", "²"])
def test_after_the_last_try_it_stays_for_a_person(said: str) -> None:
    """Also when the number of tries cannot be read."""
    assert not is_due(letter(**{TRIES: said}), now=SENT + timedelta(days=13))


def test_a_batch_of_a_stream_is_tried_once_an_hour_for_a_day() -> None:
    """Whenever within its quarters of an hour the schedule looks."""
    looks = [SENT + timedelta(minutes=7) + EVERY * n for n in range(14 * 96)]

    due = [now for now in looks if is_batch_due(SENT, now=now)]

    assert len(due) == 24
    assert {later - earlier for earlier, later in itertools.pairwise(due)} == {timedelta(hours=1)}

"""Dead letters go back one by one: what cannot be moved keeps no other from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from nilometer.domain.recovery.dead_letter import DeadLetter
from nilometer.errors import Unavailable
from nilometer.flows.recovery.dead_letters import send_back

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def letter(id_: str) -> DeadLetter:
    return DeadLetter(
        queue="UsageDeadLetters",
        id=id_,
        type="usage.recorded.v1",
        event_id=None,
        reason=None,
        sent_at=NOW,
        first_failed_at=None,
        last_failed_at=None,
        receives=1,
        body="{}",
    )


class Box:
    """A queue of ten letters, one of which SQS does not take back."""

    name = "UsageDeadLetters"
    source_url = "https://queue"
    is_movable = True

    def __init__(self) -> None:
        self.sent: list[str] = []

    @contextmanager
    def opened(self) -> Iterator[Iterator[list[DeadLetter]]]:
        yield iter([[letter(str(n)) for n in range(10)]])

    def send_back(self, letters: Sequence[DeadLetter]) -> None:
        if any(one.id == "4" for one in letters):
            raise Unavailable("SQS did not take 1 messages; send them again")
        self.sent += [one.id for one in letters]

    def try_again(self, letter: DeadLetter) -> None:
        self.send_back([letter])

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        raise AssertionError(letters)


def test_the_letter_that_stays_is_named_with_its_reason() -> None:
    """The others of its batch have gone back."""
    box = Box()

    moved = send_back(box, frozenset({"1", "4", "7"}))

    assert (moved.count, box.sent) == (2, ["1", "7"])
    assert moved.failed == {"4": "SQS did not take 1 messages; send them again"}

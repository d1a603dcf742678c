"""The schedule's part of `nilometer dlq redrive`: dead letters whose cause may be gone, a bounded number of times.

What if the process dies between sending a letter and deleting it? It is there twice, and the flow drops the second.
What if the cause is not gone? The letter comes back as a dead one, and after its last try it stays for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nilometer.domain.recovery.dead_letter import DeadLetter
from nilometer.domain.recovery.redrive import is_due
from nilometer.errors import NilometerError
from nilometer.flows.recovery.dead_letters import LetterBox


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveReport:
    """Of one place: how many letters were found, which were sent back, and of the others that were due why not."""

    queue: str
    found: int
    sent: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def left(self) -> int:
        """Letters that still lie there."""
        return self.found - len(self.sent)


def redrive_due(
    boxes: Sequence[LetterBox], *, now: datetime, out_of_time: Callable[[], bool]
) -> Iterator[RedriveReport]:
    """One report a place, as each is done; each letter by itself. A place that cannot be read is reported as failed."""
    for box in boxes:
        if out_of_time():
            return
        try:
            yield _redriven(box, now, out_of_time)
        except NilometerError as error:
            yield RedriveReport(queue=box.name, found=0, sent=(), failed=(str(error),))


def _redriven(box: LetterBox, now: datetime, out_of_time: Callable[[], bool]) -> RedriveReport:
    found = 0
    sent: list[str] = []
    failed: list[str] = []
    with box.opened() as batches:
        for letter in (letter for batch in batches for letter in batch):
            if out_of_time():
                break
            found += 1
            if box.is_movable and is_due(letter, now=now):
                why = _sent_back(box, letter)
                sent += [] if why else [letter.id]
                failed += [why] if why else []
    return RedriveReport(queue=box.name, found=found, sent=tuple(sent), failed=tuple(failed))


def _sent_back(box: LetterBox, letter: DeadLetter) -> str:
    """Why it stays; empty when it went."""
    try:
        box.try_again(letter)
    except NilometerError as error:
        return str(error)
    return ""

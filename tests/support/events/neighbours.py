"""Odd messages between good ones, and what became of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.support.events.hostile import HOSTILE, fields, named, placed

from nilometer.domain.events.outcome import Message, Outcome, Result

BATCH = 200
HARMLESS = {Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.WAITING, Outcome.IGNORED}

Settle = Callable[[Sequence[Message]], Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Odd:
    """One message that nobody means, and how it was made."""

    what: str
    body: str


def odd_ones(
    paths: Iterable[Path], *, values: Mapping[str, str] = HOSTILE, every: int = 1, first: int = 0
) -> Iterator[Odd]:
    """Every sample with every one of `values` in every field; one in `every` of them, from `first` on."""
    places = (
        (path, sample, place, name)
        for path in paths
        for sample in [json.loads(path.read_text())]
        for place in fields(sample)
        for name in values
    )
    for path, sample, place, name in islice(places, first, None, every):
        yield Odd(f"{path.stem}: {name} at {named(place)}", placed(sample, place, values[name]))


def complaints(odd: Iterable[Odd], good: Callable[[int], str], settle: Callable[[], Settle]) -> tuple[int, list[str]]:
    """How many messages were tried, and what broke the law: in batches of 200 each odd one has a good neighbour before
    and after it. `settle` begins a new world and gives what handles a batch in it; good ones are accepted there."""
    count, found = 0, []
    listed = list(odd)
    for start in range(0, len(listed), BATCH // 2):
        together = listed[start : start + BATCH // 2]
        messages = [
            message
            for number, one in enumerate(together)
            for message in (Message(f"good {number}", good(number)), Message(f"odd {number}", one.body))
        ]
        results = settle()(messages)
        count += len(messages)
        assert [one.message_id for one in results] == [one.id for one in messages], "a result a message, in order"
        for number, one in enumerate(together):
            neighbour, own = results[2 * number : 2 * number + 2]
            if neighbour.outcome is not Outcome.ACCEPTED:
                found.append(f"the neighbour of {one.what}: {neighbour.outcome} {dict(neighbour.fields)}")
            if own.outcome not in HARMLESS:
                found.append(f"{one.what}: {own.outcome} {dict(own.fields)}")
    return count, found

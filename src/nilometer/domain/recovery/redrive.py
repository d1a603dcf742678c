"""When a dead letter is tried again by itself: three times, later each time; what still fails waits for a person.

    dead for 30 minutes ── 1st try ── dead again for 2 hours ── 2nd try ── dead again for 12 hours ── 3rd try ── stays

A try costs little: every flow drops what it has taken before. A batch that was given up of a stream cannot carry the
number of its tries, so it is tried once an hour for a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from nilometer.domain.recovery.dead_letter import DeadLetter

TRIES = "nilometer_redrives"
"""The message attribute that counts the tries; a redrive by a person begins again without it."""

WAITS = (timedelta(minutes=30), timedelta(hours=2), timedelta(hours=12))
EVERY = timedelta(minutes=15)
"""Between two looks at the dead letters; the template's schedule says the same."""

_BATCH_AGE = timedelta(days=1)
_LOOKS_AN_HOUR = timedelta(hours=1) // EVERY


def tries(letter: DeadLetter) -> int:
    """How often it was sent back by itself. What is no number counts as too often."""
    said = letter.attributes.get(TRIES, "0")
    return int(said) if said.isascii() and said.isdigit() else len(WAITS)


def is_due(letter: DeadLetter, *, now: datetime) -> bool:
    """Of a queue: `sent_at` is that of its last try."""
    done = tries(letter)
    return done < len(WAITS) and now - letter.sent_at >= WAITS[done]


def is_batch_due(given_up_at: datetime, *, now: datetime) -> bool:
    """Of a batch of a stream that Lambda gave up then: in one look of each hour, for a day."""
    age = now - given_up_at
    return age < _BATCH_AGE and age // EVERY % _LOOKS_AN_HOUR == 1

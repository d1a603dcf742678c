"""The way of a usage event: through how few files it goes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

from tests.support.flows.operations import NOW
from tests.support.flows.usage import cloud, handle, prepare

import nilometer
from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects

HANDLER = 2  # the function's own file, and what all functions share
INBOX = 1  # counted as one, for it is learnt once for all queues
FOUNDATIONS = ("domain/store/", "aws/", "flows/inbox/")  # keys, times and writes; how they travel to the table


def test_a_usage_event_passes_at_most_twelve_files(store: Store, objects: Objects) -> None:
    """From the message to the counter, besides the foundations on which every subject stands."""
    package = str(Path(nilometer.__file__).parent) + "/"
    ready = prepare(store)
    passed: set[str] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(package):
            passed.add(name.removeprefix(package))

    sys.setprofile(note)
    try:
        handle(ready, objects, cloud("once"), now=NOW)
    finally:
        sys.setprofile(None)
    own = sorted(name for name in passed if not name.startswith(FOUNDATIONS))
    assert len(own) + HANDLER + INBOX <= 12, own

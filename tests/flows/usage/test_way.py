"""The way of a usage event: through how few files it goes."""

from __future__ import annotations

from tests.support.events.way import HANDLER, INBOX, files_passed, own
from tests.support.flows.operations import NOW
from tests.support.flows.usage import cloud, handle, prepare

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects


def test_a_usage_event_passes_at_most_twelve_files(store: Store, objects: Objects) -> None:
    """From the message to the counter, besides the foundations on which every subject stands."""
    ready = prepare(store)

    passed = files_passed(lambda: handle(ready, objects, cloud("once"), now=NOW))

    assert len(own(passed)) + HANDLER + INBOX <= 12, passed

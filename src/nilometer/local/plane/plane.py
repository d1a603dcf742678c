"""MiniStack as `nilometer local` runs it: what was on its way at a stop goes on at the next start.

MiniStack 1.5.33 saves tables and queues when it stops, but no stream records: what no reader had read
would be lost for the lake. Here they are saved and restored with the tables, in the same file, so a
stop between a write and its relay loses nothing.

It saves for how long a received message stays invisible, too. Whoever received it ended with the
engine, perhaps before the answer arrived, so at the start every received message is visible again
and not after minutes. `python -m nilometer.local.plane.plane` is its `ministack`.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from ministack.app import main  # type: ignore[import-untyped]  # it has no types
from ministack.services import dynamodb, sqs  # type: ignore[import-untyped]  # as above

_RECORDS = "nilometer_stream_records"
_saved = dynamodb.get_state
_restore = dynamodb.load_persisted_state
_restore_queues = sqs.load_persisted_state


def get_state() -> dict[str, Any]:
    return {**_saved(), _RECORDS: copy.deepcopy(dynamodb._stream_records)}  # noqa: SLF001  # it has no public name


def load_persisted_state(state: dict[str, Any]) -> None:
    """Sequence numbers begin with the time, so those of a new process follow the restored ones."""
    _restore(state)
    dynamodb._stream_records.update(state.get(_RECORDS, {}))  # noqa: SLF001  # as above


def load_persisted_queues(state: dict[str, Any]) -> None:
    for queue in state.get("queues", {})._data.values():  # noqa: SLF001  # of every account and region
        for message in queue["messages"]:
            if message["receive_count"]:
                message["visible_at"] = 0.0
    _restore_queues(state)


if __name__ == "__main__":
    dynamodb.get_state = get_state
    dynamodb.load_persisted_state = load_persisted_state
    sqs.load_persisted_state = load_persisted_queues
    sys.exit(main())

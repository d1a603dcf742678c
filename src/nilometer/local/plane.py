"""MiniStack as `nilometer local` runs it: with its unread stream records in the saved state.

MiniStack 1.5.33 saves tables and queues when it stops, but no stream records: what no reader had read
would be lost for the lake. Here they are saved and restored with the tables, in the same file, so a
stop between a write and its relay loses nothing. `python -m nilometer.local.plane` is its `ministack`.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from ministack.app import main  # type: ignore[import-untyped]  # it has no types
from ministack.services import dynamodb  # type: ignore[import-untyped]  # as above

_RECORDS = "nilometer_stream_records"
_saved = dynamodb.get_state
_restore = dynamodb.load_persisted_state


def get_state() -> dict[str, Any]:
    return {**_saved(), _RECORDS: copy.deepcopy(dynamodb._stream_records)}  # noqa: SLF001  # it has no public name


def load_persisted_state(state: dict[str, Any]) -> None:
    """Sequence numbers begin with the time, so those of a new process follow the restored ones."""
    _restore(state)
    dynamodb._stream_records.update(state.get(_RECORDS, {}))  # noqa: SLF001  # as above


if __name__ == "__main__":
    dynamodb.get_state = get_state
    dynamodb.load_persisted_state = load_persisted_state
    sys.exit(main())

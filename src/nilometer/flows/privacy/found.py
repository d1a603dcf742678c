"""What an erasure finds, and where it may look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.recovery.erasure import Fate


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that names the person, and what becomes of it. `name` is a key or a path, without an address.

    `erase` does it: again is no harm. `Cancelled` when it changed since it was found; then search again.
    """

    place: str
    kind: str
    name: str
    fate: Fate
    why: str
    erase: Callable[[], object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a stack keeps what it knows. `progress` is called with the name of each place before it is searched."""

    store: Store
    objects: Objects
    lake_uri: str
    storage_options: dict[str, str]
    now: datetime
    progress: Callable[[str], None] = lambda _: None

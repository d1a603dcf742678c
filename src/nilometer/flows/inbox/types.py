"""What an event type is to the operations flow: its data, the records that it reads, and what it decides.

Each subject (workspaces and meters, people, ...) has a module with its rows, `TYPES`; `flows.operations` joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from nilometer.domain.events.cloudevents import CloudEvent
from nilometer.domain.store.writes import Item, Key, Write

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 in lower-case hex")]
Id = Annotated[
    str, msgspec.Meta(pattern="^[^@]+$", max_length=256, description="An id, never an address: ids reach the lake")
]
Code = Annotated[str, msgspec.Meta(pattern="^[a-z0-9_.]{1,64}$", description="A word of the service: wrong_password")]
Slug = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,63}$", description="a-z, 0-9 and _, a letter first")]
Instant = Annotated[str, msgspec.Meta(description="RFC 3339 with an offset", extra_json_schema={"format": "date-time"})]

Stored = Mapping[Key, Item]
"""The records that exist among those that were asked for."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One event, decoded. `data` are its checked JSON values: what the fact keeps."""

    event: CloudEvent
    data: Mapping[str, Any]

    @property
    def workspace_id(self) -> str:
        """The subject: no other part of an event can name the workspace that it changes."""
        assert self.event.subject  # noqa: S101  # types with a workspace are refused without one when decoded
        return self.event.subject


class Data(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every type's data: what is not declared is an error, what was not said is not stored."""


def _nothing(_operation: Operation, _known: Mapping[Key, Item | None]) -> Iterable[Key]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationType:
    """One row. `reads` names the keys in `records`, `decide` answers with the effect; all are pure.

    `follows` names the keys that are known only when others are read (None: nothing is stored); it is asked until it
    names no new one.

    The effect and the fact are one transaction, so `decide` guards every write by what it read (`Version`,
    `Absent`). An empty effect is a fact that says nothing new. `Unavailable`: what it builds on is not known yet;
    `Refused`: a rule forbids it; `Rejected`: wrong for good.
    """

    data: type[Data]
    reads: Callable[[Operation], Iterable[Key]]
    decide: Callable[[Operation, Stored, datetime], Sequence[Write]]
    has_workspace: bool = True
    follows: Callable[[Operation, Mapping[Key, Item | None]], Iterable[Key]] = _nothing


OperationTypes = Mapping[str, OperationType]

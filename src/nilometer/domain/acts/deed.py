"""A deed: what somebody does, as one frozen value, whoever says it.

    event of a service ──┐
    call of the library ─┼──▶ AddMember(user_id, role) ──▶ reads ──▶ decide ──▶ writes, with the fact ──▶ answer
    command, HTTP body ──┘

Its fields are the event's data, the arguments of the library and the options of the command. JSON Schemas and documents
are made from them: the first line of its docstring is the event's description. A deed that can be made is valid in
itself; `decide` compares it with what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store.writes import Item, Key, Put, Write
from nilometer.errors import Refused

T = TypeVar("T")

Stored = Mapping[Key, Item]
"""The records that exist among those that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a JSON Schema can say of a field: a pattern, lengths or sizes, and what it means."""

    pattern: str | None = None
    least: int | None = None
    most: int | None = None
    says: str | None = None


Id = Annotated[str, Bounds(pattern="^[^@]+$", most=256, says="An id, never an address: ids reach the lake")]
Sha256 = Annotated[str, Bounds(pattern="^[0-9a-f]{64}$", says="SHA-256 in lower-case hex")]
Slug = Annotated[str, Bounds(pattern="^[a-z][a-z0-9_]{0,63}$", says="a-z, 0-9 and _, a letter first")]


class Unsaid(Enum):
    """The value of a field that was left out, where null means something else."""

    UNSAID = "unsaid"


UNSAID = Unsaid.UNSAID


class Reach(Enum):
    """What a deed concerns, and so what it needs."""

    OPEN = "a workspace that is open"
    WORKSPACE = "a workspace, open or not"
    PERSON = "a person, in a workspace or in none"
    EVERYBODY = "all workspaces; only our own services and operators may"


class Actor(Enum):
    """Who did it, when an event reports it. Of the library it is the caller."""

    SOURCE = "the service that sends the event"
    NAMED = "the event's data may name an `actor`"
    PERSON = "its `user_id`; a member acts for himself alone"


@dataclass(frozen=True, slots=True)
class Decided:
    """What was stored when a deed was decided, and what is written."""

    before: Stored
    writes: Sequence[Write]

    def after(self, key: Key) -> Item | None:
        """The item under `key` once the writes are stored."""
        puts = [write.item for write in self.writes if isinstance(write, Put) and write.key == key]
        return puts[0] if puts else self.before.get(key)


class Deed(Generic[T]):
    """Base of all. `T` is the answer; one without an answer need not say so."""

    reach: ClassVar[Reach] = Reach.OPEN
    actor: ClassVar[Actor] = Actor.SOURCE
    permission: ClassVar[Permission | None] = None

    def reads(self, act: Act) -> Iterable[Key]:
        """The records that the decision needs, besides the workspace and the caller's membership."""
        raise NotImplementedError

    def follows(self, act: Act, known: Mapping[Key, Item | None]) -> Iterable[Key]:
        """Those that are named by what was read (`None`: nothing is stored); asked until it names no new one."""
        return ()

    def decide(self, act: Act, stored: Stored) -> Sequence[Write]:
        """What to write, each guarded by what was read; nothing when it says nothing new.

        `NotKnownYet`: what it builds on may arrive later; `Refused`: a rule forbids it; `Rejected`: permanently
        invalid.
        """
        raise NotImplementedError

    def answer(self, act: Act, decided: Decided) -> T:
        """For who called, once the writes are stored."""
        return cast(T, None)

    def require(self, act: Act, *, own: str | None = None) -> None:
        """`Refused` unless the caller has the permission; what is his `own` he may do without."""
        if self.reach is Reach.EVERYBODY and act.caller.role is not None:
            raise Refused("this is the same in all workspaces; only services and operators may change it")
        if self.permission and not (own is not None and act.caller.is_self(own)):
            act.caller.require(self.permission)


class Issuing(Deed[T]):
    """A deed that creates a secret: events carry its hash in `hash_field`, the library makes it and shows it once."""

    secret: ClassVar[str]
    hash_field: ClassVar[str] = "token_hash"


def made(**metadata: Any) -> Any:
    """A field that an event must bring, and the library fills when the caller leaves it out."""
    return field(default="", metadata={"made": True, **metadata})


def unsent(default: Any) -> Any:
    """A field of the library alone: no event carries it."""
    return field(default=default, metadata={"sent": False})


def said(**fields: Any) -> dict[str, Any]:
    """Those that were not left out."""
    return {name: value for name, value in fields.items() if value is not UNSAID}

"""A deed as an event carries it: the type that decodes its data and is its JSON Schema, made from the deed's fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from nilometer.domain.acts.deed import UNSAID, Actor, Bounds, Deed, Id, Unsaid
from nilometer.domain.store.times import parse_rfc3339

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 in lower-case hex")]
Slug = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,63}$", description="a-z, 0-9 and _, a letter first")]
Instant = Annotated[str, msgspec.Meta(description="RFC 3339 with an offset", extra_json_schema={"format": "date-time"})]

_T = TypeVar("_T")


class Data(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every type's data: what is not declared is an error, what was not said is not stored."""


@cache
def data_type(name: str, deed: Any) -> type[Data]:
    """What decodes the data of the events that report `deed`."""
    return _struct(name, deed, {"actor": (Id | None, None)} if deed.actor is Actor.NAMED else {})


def deed_of(deed: type[_T], data: Data) -> _T:
    """The deed that decoded data says. `Rejected` when no such deed can be."""
    shape: Any = deed
    return deed(**{field.name: _value(getattr(data, field.name), hint) for field, hint in _sent(shape)})


def actor_of(deed: type[Deed[Any]], data: Data) -> str | None:
    """Whom the data names as the one who did it; `None`: the service that sends the event."""
    match deed.actor:
        case Actor.NAMED:
            named: str | None = getattr(data, "actor")  # noqa: B009  # a field that `data_type` adds
        case Actor.PERSON:
            named = getattr(data, "user_id")  # noqa: B009  # every deed of a person has it
        case Actor.SOURCE:
            named = None
    return named


def first_line(shape: type) -> str:
    """Of its docstring: what it says."""
    return (shape.__doc__ or "").strip().partition("\n")[0]


def _struct(name: str, shape: type, more: Mapping[str, tuple[Any, Any]]) -> type[Data]:
    made = [(field.name, _wire(hint), *_default(field)) for field, hint in _sent(shape)]
    added = [(field, _wire(hint), default) for field, (hint, default) in more.items()]
    namespace = {"__doc__": first_line(shape)}
    made_type: Any = msgspec.defstruct(name, [*made, *added], bases=(Data,), namespace=namespace, kw_only=True)
    return made_type  # type: ignore[no-any-return]  # of `Data`, as its bases say


@cache
def _sent(shape: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields that an event carries, with their types."""
    hints = get_type_hints(shape, include_extras=True)
    return tuple((field, hints[field.name]) for field in fields(shape) if field.metadata.get("sent", True))


def _default(field: Field[Any]) -> tuple[Any, ...]:
    if field.default is MISSING or field.metadata.get("made"):
        return ()
    if field.default == ():
        return (msgspec.field(default_factory=list),)
    return (msgspec.UNSET if field.default is UNSAID else field.default,)


def _wire(hint: Any) -> Any:
    """The type of a field in msgspec's terms."""
    origin = get_origin(hint)
    if origin is Annotated:
        bare, bounds = get_args(hint)
        return Annotated[_wire(bare), _meta(bare, bounds)]
    if origin in {Union, UnionType}:
        return Union[tuple(_wire(one) for one in get_args(hint))]  # noqa: UP007  # made of a tuple
    if origin is Sequence:
        return list[_wire(get_args(hint)[0])]  # type: ignore[misc]  # made at run time
    if origin is Mapping:
        return dict[get_args(hint)]  # type: ignore[misc]  # made at run time
    if is_dataclass(hint) and isinstance(hint, type):
        return _struct(getattr(hint, "wire_name", hint.__name__), hint, {})
    return {Unsaid: msgspec.UnsetType, datetime: Instant}.get(hint, hint)


def _meta(bare: Any, bounds: Bounds) -> msgspec.Meta:
    if bare is int:
        return msgspec.Meta(ge=bounds.least, le=bounds.most, description=bounds.says)
    return msgspec.Meta(
        pattern=bounds.pattern, min_length=bounds.least, max_length=bounds.most, description=bounds.says
    )


def _value(value: Any, hint: Any) -> Any:
    """A decoded value as the deed has it."""
    if value is msgspec.UNSET:
        return UNSAID
    for one in _members(hint):
        if one is datetime and isinstance(value, str):
            return parse_rfc3339(value)
        if is_dataclass(one) and isinstance(one, type) and isinstance(value, Data):
            return deed_of(one, value)
        if get_origin(one) is Sequence and isinstance(value, list):
            return tuple(_value(element, get_args(one)[0]) for element in value)
    return value


def _members(hint: Any) -> Iterator[Any]:
    """Those of a union, without what is only annotated."""
    if get_origin(hint) is Annotated:
        yield from _members(get_args(hint)[0])
    elif get_origin(hint) in {Union, UnionType}:
        for one in get_args(hint):
            yield from _members(one)
    else:
        yield hint

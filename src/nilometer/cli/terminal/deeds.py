"""Parameters of a command from the fields of a deed: type, choices, and whether one must be given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from datetime import datetime
from enum import Enum
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from nilometer.cli.terminal.times import MOMENT
from nilometer.domain.acts.deed import Bounds, Deed, Unsaid

_Command = TypeVar("_Command", bound=Callable[..., Any])
Parameter = Callable[[Field[Any], Any], Callable[[Any], Any]]
"""Makes click's decorator from a field and its type."""


def takes(deed: type[Deed[Any]], **parameters: Parameter) -> Callable[[_Command], _Command]:
    """Hands the command `deed`, made of what was typed. A field that was left out, or is not in `parameters`, has its
    default."""
    hints = get_type_hints(deed, include_extras=True)
    known = {one.name: one for one in fields(deed)}  # type: ignore[arg-type]  # every deed is a dataclass

    def taking(command: _Command) -> _Command:
        @functools.wraps(command)
        def called(*args: Any, **kwargs: Any) -> Any:
            typed = {name: kwargs.pop(name) for name in parameters}
            left = {name for name, value in typed.items() if value in (None, ()) and not _required(known[name])}
            given = {name: _value(value, hints[name]) for name, value in typed.items() if name not in left}
            return command(*args, deed=deed(**given), **kwargs)

        for name, parameter in reversed(parameters.items()):
            called = parameter(known[name], hints[name])(called)
        return called  # type: ignore[return-value]  # functools.wraps forgets the type

    return taking


def argument(metavar: str, **attributes: Any) -> Parameter:
    """The field as an argument of this name in the help; `attributes` of click go before what the field says."""

    def made(field: Field[Any], hint: Any) -> Callable[[Any], Any]:
        given = {"type": _type(hint), "required": _required(field)} | attributes
        return click.argument(field.name, metavar=metavar, **given)

    return made


def option(*names: str, **attributes: Any) -> Parameter:
    """The field as an option, `--its-name` unless `names` say another; `attributes` as for an argument."""

    def made(field: Field[Any], hint: Any) -> Callable[[Any], Any]:
        bounds = _bounds(hint)
        given = {
            "type": _type(hint),
            "required": _required(field),
            "multiple": Sequence in _kinds(hint),
            "help": f"{bounds.says}." if bounds and bounds.says else None,
        } | attributes
        # A default of None would count as given, and nothing would be required.
        default = {} if given["required"] else {"default": None}
        return click.option(*(names or (f"--{field.name.replace('_', '-')}",)), field.name, **default, **given)

    return made


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING


def _type(hint: Any) -> Any:
    """What click converts to; None for text."""
    bounds = _bounds(hint)
    for kind in _kinds(hint):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return click.Choice([one.value for one in kind], case_sensitive=False)
        if kind is int and bounds:
            return click.IntRange(bounds.least, bounds.most)
        if kind is datetime:
            return MOMENT
        if kind in {int, bool}:
            return kind
    return None


def _value(value: Any, hint: Any) -> Any:
    for kind in _kinds(hint):
        if value is not None and isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value)
    return value


def _bounds(hint: Any) -> Bounds | None:
    return next((one for annotated in _members(hint) for one in getattr(annotated, "__metadata__", ())), None)


def _kinds(hint: Any) -> list[Any]:
    """What a value may be, without null, and bare of what is annotated."""
    bare = (get_args(one)[0] if get_origin(one) is Annotated else get_origin(one) or one for one in _members(hint))
    return [one for one in bare if one not in {type(None), Unsaid}]


def _members(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in {Union, UnionType}:
        for one in get_args(hint):
            yield from _members(one)
    else:
        yield hint

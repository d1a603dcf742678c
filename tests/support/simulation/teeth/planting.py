"""Bugs planted by a tool over the product's source: one change of one function, put in and taken out again.

A bug is named by the package and the function that it is in, by its kind and by the source that it changes: files may
move and lines may shift.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.simulation.teeth.kinds import places


@dataclass(frozen=True)
class PlantedBug:
    """`place` is its number among the places of its function, in the order in which the tool finds them."""

    package: str
    module: str
    function: str
    kind: str
    source: str
    place: int
    name: str


@cache
def bugs(package: str) -> Mapping[str, PlantedBug]:
    """Every bug that the tool can plant in the modules of a package, or in the one module of this name, by name."""
    found: list[PlantedBug] = []
    seen: Counter[str] = Counter()
    for module in _modules(package):
        for function, node in _functions(_tree(module)):
            if _code_holder(module, function) is None:
                continue
            for place, (kind, source, _) in enumerate(places(node)):
                name = f"{package.removeprefix('nilometer.')} {function}: {kind}: {source}"
                seen[name] += 1
                name += f" ({seen[name]})" if seen[name] > 1 else ""
                found.append(PlantedBug(package, module, function, kind, source, place, name))
    return {bug.name: bug for bug in found}


@contextmanager
def planted(bug: PlantedBug) -> Iterator[None]:
    """The product with this bug."""
    tree = _tree(bug.module)
    [*_, (_, _, change)] = list(places(dict(_functions(tree))[bug.function]))[: bug.place + 1]
    change()
    compiled = compile(ast.fix_missing_locations(tree), bug.module, "exec", dont_inherit=True)
    holder = _code_holder(bug.module, bug.function)
    assert holder is not None
    before = holder.__code__
    holder.__code__ = _code(compiled, bug.function)
    try:
        yield
    finally:
        holder.__code__ = before


@contextmanager
def marked(some: Iterable[PlantedBug]) -> Iterator[set[str]]:
    """The product as it is, but each function of `some` names itself in the set when it is called."""
    seen: set[str] = set()
    before: list[tuple[types.FunctionType, types.CodeType]] = []
    for module, function in sorted({(bug.module, bug.function) for bug in some}):
        tree = _tree(module)
        node = dict(_functions(tree))[function]
        node.body.insert(0, ast.parse(f"_SEEN.add({f'{module}:{function}'!r})").body[0])
        compiled = compile(ast.fix_missing_locations(tree), module, "exec", dont_inherit=True)
        holder = _code_holder(module, function)
        assert holder is not None
        holder.__globals__["_SEEN"] = seen
        before.append((holder, holder.__code__))
        holder.__code__ = _code(compiled, function)
    try:
        yield seen
    finally:
        for holder, code in before:
            holder.__code__ = code
            holder.__globals__.pop("_SEEN", None)


def _modules(package: str) -> list[str]:
    module = importlib.import_module(package)
    inside = pkgutil.walk_packages(getattr(module, "__path__", []), f"{package}.")
    return [package, *sorted(one.name for one in inside)]


def _tree(module: str) -> ast.Module:
    path = importlib.import_module(module).__file__
    assert path
    return ast.parse(Path(path).read_text())


def _functions(tree: ast.Module) -> list[tuple[str, ast.FunctionDef]]:
    """Functions and methods by qualified name; what is inside them belongs to them."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.append((node.name, node))
        if isinstance(node, ast.ClassDef):
            found += [(f"{node.name}.{one.name}", one) for one in node.body if isinstance(one, ast.FunctionDef)]
    return found


def _code_holder(module: str, function: str) -> types.FunctionType | None:
    found: Any = importlib.import_module(module)
    for part in function.split("."):
        found = found.__dict__.get(part)
    for wrapper in ("fget", "func", "__func__", "__wrapped__"):
        found = getattr(found, wrapper, found)
    return found if isinstance(found, types.FunctionType) else None


def _code(code: types.CodeType, name: str) -> types.CodeType:
    for part in name.split("."):
        code = next(one for one in code.co_consts if isinstance(one, types.CodeType) and one.co_name == part)
    return code

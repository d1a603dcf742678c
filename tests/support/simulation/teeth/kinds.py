"""The kinds of bugs that can be planted: each finds its places in a function and changes one of them."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

Change = Callable[[], None]
PartPlace = tuple[str, str, Change]
"""The kind of bug, the source that it changes, and what changes the tree."""

STORING = frozenset({"commit", "put_all", "delete_all"})
STORES = STORING | {"_commit", "_put_facts", "_reserve", "_store", "append", "send", "publish", "put"}
LEFT_OUT = STORING | frozenset(
    {
        "keep",
        "_keep",
        "settle_copies",
        "_forget",
        "_remember",
        "bury",
        "refold",
        "touch",
        "mark",
        "take_back",
        "_settle",
    }
    | {"_put_facts", "_say_uses", "_store", "put"}
)
WRITES = frozenset({"Put", "Update", "Delete", "Check"})
LIVES = frozenset({"KEPT", "WORKSPACE_WAITS", "METER_WAITS", "DEDUPLICATED", "PATIENCE", "ttl", "LOOKBACK", "LIFETIME"})
FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}
SHOWN = 90  # characters of a bug's source


def places(function: ast.FunctionDef) -> Iterator[PartPlace]:
    """Every bug that can be planted in a function; the changes are of `function` itself."""
    stores = _stores(function)
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            yield from _of_calls(node)
        elif isinstance(node, ast.Try):
            yield from _of_tries(node)
        elif isinstance(node, ast.List):
            yield from _of_lists(node)
        elif isinstance(node, ast.Compare):
            yield from _of_comparisons(node)
        elif isinstance(node, ast.BinOp):
            yield from _of_sums(node)
        elif isinstance(node, ast.If) and stores:
            yield from _of_guards(node)
        yield from _of_keywords(node)
        yield from _of_statements(node)


def _of_calls(call: ast.Call) -> Iterator[PartPlace]:
    """A condition removed, a version not checked, a read made eventually consistent, a cache trusted, a retry lost."""
    name, source = _called(call), _source(call)
    for keyword in call.keywords:
        if keyword.arg == "expected" and name in WRITES - {"Check"} and not _is(keyword.value, None):
            yield _condition(keyword.value), source, _sets(keyword, None)
        if keyword.arg == "consistent" and _is(keyword.value, True):
            yield "old read", source, _sets(keyword, False)
        if keyword.arg == "fresh" and _is(keyword.value, True):
            yield "cache trusted", source, _sets(keyword, False)
    if name == "retrying":
        yield "retry lost", source, _with(call, "attempts", 1)


def _condition(value: ast.expr) -> str:
    versioned = isinstance(value, ast.Call) and _called(value) in {"Version", "version_of", "unchanged"}
    return "version not checked" if versioned else "condition removed"


def _of_tries(block: ast.Try) -> Iterator[PartPlace]:
    """An answer taken for success: what follows a failure is what follows success."""
    if not _stores(block):
        return
    for handler in block.handlers:
        if "Rejected" in ast.unparse(handler.type or ast.Constant(None)):
            continue
        success = block.orelse or [one for one in block.body if isinstance(one, ast.Return)] or [ast.Pass()]
        yield "failure taken for success", _source(handler), _replaces(handler, success)


def _of_lists(items: ast.List) -> Iterator[PartPlace]:
    """A part of a transaction left out."""
    if len(items.elts) < 2:
        return
    for place, element in enumerate(items.elts):
        inner = element.value if isinstance(element, ast.Starred) else element
        if isinstance(inner, ast.Call) and (isinstance(element, ast.Starred) or _called(inner) in WRITES):
            yield "write left out", _source(element), _removes(items, place)


def _of_comparisons(comparison: ast.Compare) -> Iterator[PartPlace]:
    """A comparison flipped."""
    flipped = FLIPPED.get(type(comparison.ops[0]))
    if flipped and len(comparison.ops) == 1:
        yield "comparison flipped", _source(comparison), _operator(comparison, flipped)


def _of_sums(sum_: ast.BinOp) -> Iterator[PartPlace]:
    """The sign of a time to live, and a version that does not rise."""
    if isinstance(sum_.op, ast.Add) and any(_name(side) in LIVES for side in (sum_.left, sum_.right)):
        yield "sign of a time to live", _source(sum_), lambda: setattr(sum_, "op", ast.Sub())
    if isinstance(sum_.op, ast.Add) and _is_one(sum_.right) and "version" in ast.unparse(sum_.left):
        yield "version does not rise", _source(sum_), lambda: setattr(sum_.right, "value", 0)


def _of_guards(branch: ast.If) -> Iterator[PartPlace]:
    """A way out of a function that nobody takes."""
    leaves = len(branch.body) == 1 and isinstance(branch.body[0], ast.Return | ast.Raise | ast.Continue | ast.Break)
    if leaves and not branch.orelse:
        yield "way out closed", _source(branch), lambda: setattr(branch, "test", ast.Constant(False))


def _of_keywords(node: ast.AST) -> Iterator[PartPlace]:
    """A sign lost: what is taken away is added."""
    for name, value in ast.iter_fields(node):
        for place, one in enumerate(value if isinstance(value, list) else [value]):
            if (
                isinstance(one, ast.UnaryOp)
                and isinstance(one.op, ast.USub)
                and not isinstance(one.operand, ast.Constant)
            ):
                yield "sign lost", _source(one), _instead(node, name, place, value, one.operand)


def _of_statements(node: ast.AST) -> Iterator[PartPlace]:
    """A call left out, and an outcome given before what it says is stored."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        for place, statement in enumerate(block if isinstance(block, list) else ()):
            call = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(call, ast.Call) and _called(call) in LEFT_OUT:
                yield "call left out", _source(statement), _passes(block, place)
            if place and _gives_outcome(statement) and _stores(block[place - 1]):
                yield "settled before it is stored", _source(statement), _swaps(block, place)


def _gives_outcome(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, ast.Attribute) and target.attr == "outcome" for target in statement.targets)
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and _called(statement.value) in {"settle", "_waits"}
    )


def _stores(tree: ast.AST) -> bool:
    calls = (one for one in ast.walk(tree) if isinstance(one, ast.Call))
    return any(_called(call) in STORES for call in calls)


# ---------------------------------------------------------------------- looking at the tree, and changing it


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _source(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:SHOWN]


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _sets(keyword: ast.keyword, value: Any) -> Change:
    return lambda: setattr(keyword, "value", ast.Constant(value))


def _with(call: ast.Call, name: str, value: Any) -> Change:
    def change() -> None:
        call.keywords = [one for one in call.keywords if one.arg != name]
        call.keywords.append(ast.keyword(name, ast.Constant(value)))

    return change


def _replaces(handler: ast.ExceptHandler, body: list[Any]) -> Change:
    return lambda: setattr(handler, "body", copy.deepcopy(body))


def _removes(items: ast.List, place: int) -> Change:
    return lambda: items.elts.__delitem__(place)


def _passes(block: Any, place: int) -> Change:
    return lambda: block.__setitem__(place, ast.Pass())


def _swaps(block: Any, place: int) -> Change:
    return lambda: block.__setitem__(slice(place - 1, place + 1), [block[place], block[place - 1]])


def _operator(comparison: ast.Compare, operator: type[ast.cmpop]) -> Change:
    return lambda: comparison.ops.__setitem__(0, operator())


def _instead(node: ast.AST, name: str, place: int, value: Any, operand: ast.expr) -> Change:
    if isinstance(value, list):
        return lambda: value.__setitem__(place, operand)
    return lambda: setattr(node, name, operand)

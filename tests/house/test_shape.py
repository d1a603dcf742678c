"""The shape of the code: public names are explained, class names stand once, folders stay small, no import circle."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.project import ROOT

MOST = 12  # entries of a folder besides `__init__.py`
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def parsed(folder: str) -> dict[Path, ast.Module]:
    """Every module below a folder of the project, by its path from the root."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in paths}


def test_every_public_name_has_a_docstring() -> None:
    """Module, class, function or method: what is not private says what it promises."""
    mute = [f"{path} {node.name}" for path, node in public() if ast.get_docstring(node) is None]

    assert mute == []


def explained_above(node: ast.ClassDef, method: str) -> bool:
    """Whether a class that this one is made of promises the method: there it says what it does."""
    bases = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases} - {node.name}
    above = [one for name in bases for one in classes().get(name, ())]
    return any(
        explained_above(one, method)
        or any(
            isinstance(inner, DEFINITIONS) and inner.name == method and ast.get_docstring(inner) for inner in one.body
        )
        for one in above
    )


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    """All of the code, by name."""
    found: dict[str, list[ast.ClassDef]] = {}
    for module in parsed("src").values():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def public() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    for path, module in parsed("src").items():
        for node in module.body:
            if not isinstance(node, DEFINITIONS) or node.name.startswith("_"):
                continue
            yield path, node
            if isinstance(node, ast.ClassDef):
                methods = (inner for inner in node.body if isinstance(inner, DEFINITIONS))
                named = (inner for inner in methods if not inner.name.startswith("_"))
                yield from ((path, inner) for inner in named if not explained_above(node, inner.name))


def test_a_class_name_stands_once() -> None:
    """Private ones too: who searches for a name finds one place."""
    places: dict[str, list[str]] = {}
    for path, module in parsed("src").items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(f"{path}:{node.lineno}")

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_folder_grows_past_its_bound() -> None:
    """Twelve entries fit on a screen and in a head."""
    folders = [path for top in ("src", "tests") for path in [ROOT / top, *(ROOT / top).rglob("*")] if path.is_dir()]
    sizes = {str(path.relative_to(ROOT)): len(entries(path)) for path in folders if not hidden(path)}

    assert {folder: size for folder, size in sizes.items() if size > MOST} == {}


def entries(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.name not in {"__init__.py", "py.typed"} and not hidden(one)]


def hidden(path: Path) -> bool:
    """Made by tools, not by people."""
    return any(
        part.startswith((".", "__pycache__")) or part.endswith(".egg-info") for part in path.parts[len(ROOT.parts) :]
    )


def test_no_module_imports_in_a_circle() -> None:
    """Imports under `TYPE_CHECKING` and inside functions count too."""
    edges = {name: imported(name, module) for name, module in modules().items()}

    assert circles(edges) == []


@cache
def modules() -> dict[str, ast.Module]:
    """By dotted name."""
    found = {}
    for path, module in parsed("src").items():
        parts = path.with_suffix("").parts[1:]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = module
    return found


def imported(name: str, module: ast.Module) -> set[str]:
    """The project's own modules that a module names, wherever in it."""
    known = modules()
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                for alias in node.names
            }
    return (found & known.keys()) - {name}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """What is left when what imports nothing that is left is taken away, again and again."""
    left = dict(edges)
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return [sorted(left)] if left else []


def test_one_retry_waits() -> None:
    """In `flows` only the inbox draws a random pause, or sleeps: a second loop would promise the same again."""
    places = [
        str(path)
        for path, module in parsed("src/nilometer/flows").items()
        if "inbox" not in path.parts
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"random.uniform", "time.sleep"}
    ]

    assert places == []


def test_helpers_of_tests_stand_apart_from_tests() -> None:
    """No test module imports from another one, or from a conftest: what several need is in tests/support."""
    wrong = [
        f"{path} {node.module}"
        for path, module in parsed("tests").items()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("tests.")
        and any(
            name.startswith(("test_", "conftest"))
            for name in [(node.module or "").rpartition(".")[2], *(alias.name for alias in node.names)]
        )
    ]

    assert wrong == []


def test_names_of_tests_stand_once_a_file() -> None:
    """A second function of the same name would replace the first, and its promise would not be tested."""
    twice = [
        f"{path} {name}"
        for path, module in parsed("tests").items()
        for name, count in Counter(node.name for node in module.body if isinstance(node, DEFINITIONS)).items()
        if count > 1
    ]

    assert twice == []

"""CloudFormation of MiniStack: what SAM made of a template is kept in a file, for the next start.

SAM's translator is a third of the CPU of a start, half of it its import, and its answer depends on the template and the
region alone: parameters are resolved later.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ministack.core.responses import get_region  # type: ignore[import-untyped]  # it has no types
from ministack.services.cloudformation import changesets, engine, handlers  # type: ignore[import-untyped]  # as above

# MiniStack's functions have no public names.
# ruff: noqa: SLF001

Template = dict[str, Any]
MOST = 10  # files that are kept


def use(folder: Path) -> None:
    """From now on, with the files in `folder`."""
    applying = _keeping(engine._apply_transforms, folder)
    for module in (changesets, handlers):
        module._apply_transforms = applying


def _keeping(whole: Callable[..., Template], folder: Path) -> Callable[..., Template]:
    def applying(template: Template, *parameters: Any) -> Template:
        path = _path(folder, template)
        if path is None:
            return whole(template, *parameters)
        with contextlib.suppress(OSError, ValueError):
            found: Template = json.loads(path.read_bytes())
            return found
        made = whole(template, *parameters)
        if type(made) is dict:  # MiniStack's own class is a failure
            with contextlib.suppress(OSError, TypeError):
                _keep(path, made)
        return made

    return applying


def _path(folder: Path, template: Mapping[str, Any]) -> Path | None:
    """None unless SAM alone makes the template, and from nothing but itself."""
    if engine.declared_transforms(template) != [engine._SAM_TRANSFORM]:
        return None
    try:
        text = json.dumps([template, get_region(), version("aws-sam-translator"), version("ministack")])
    except TypeError:
        return None
    return None if '"Fn::Transform"' in text else folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _keep(path: Path, template: Template) -> None:
    """Whole or not at all; of too many files the oldest go."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)
    for old in kept[: max(len(kept) - MOST + 1, 0)]:
        old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(json.dumps(template).encode())
    Path(file.name).replace(path)

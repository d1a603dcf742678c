"""The environment of a function, in one place: nothing else below `nilometer.lambdas` reads a variable of our own."""

from __future__ import annotations

import os

from nilometer.errors import Misconfigured


def variables(*names: str) -> tuple[str, ...]:
    """Their values, in order. `Misconfigured` names all that are not set, or empty."""
    if missing := [name for name in names if not os.environ.get(name)]:
        raise Misconfigured(f"set {', '.join(missing)} in the function's environment")
    return tuple(os.environ[name] for name in names)


def optional(name: str) -> str | None:
    """The value of one that need not be set; None when it is not, or empty."""
    return os.environ.get(name) or None

"""Python and its installed packages."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from nilometer.cli.stack.finding import Finding, ok, skip, warn

OLDEST = (3, 11)
_EXTRAS = {
    "aws": ("boto3",),
    "lake": ("deltalake", "arro3"),
    "analyst": ("pyarrow", "duckdb"),
    "stripe": ("stripe",),
    "local": ("ministack", "samtranslator", "awslambdaric", "yaml"),
}
_READERS = ("polars", "daft", "pysail", "pyspark")


def machine() -> Iterator[Finding]:
    """Python and the packages of this machine."""
    version = platform.python_version()
    if sys.version_info >= OLDEST:
        yield ok("python", version)
    else:
        yield warn("python", version, f"Use Python {'.'.join(map(str, OLDEST))} or newer.")
    yield from map(_extra, _EXTRAS)
    readers = [name for name in _READERS if find_spec(name)]
    yield skip("readers", f"optional: {', '.join(readers) or 'none'} installed of {', '.join(_READERS)}")


def _extra(name: str) -> Finding:
    lacking = [module for module in _EXTRAS[name] if not find_spec(module)]
    if lacking:
        return warn(f"extra {name}", f"without {', '.join(lacking)}", f"pip install 'nilometer[{name}]'")
    return ok(f"extra {name}", "installed")

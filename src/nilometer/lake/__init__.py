"""Delta tables in S3: the only room that imports deltalake, arro3, pyarrow and duckdb.

For analysts: `connect` (DuckDB) and `scan` (Polars), imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nilometer.lake.read.analyst import connect as connect
    from nilometer.lake.read.frames import scan as scan


def __getattr__(name: str) -> Any:
    """PEP 562: a Lambda that writes must not import what reads."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'nilometer.lake' has no attribute {name!r}")
    return getattr(import_module(f"nilometer.lake.{module}"), name)


_MODULES = {"connect": "read.analyst", "scan": "read.frames", "export": "warehouse.export"}

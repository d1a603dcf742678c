"""Delta tables in S3: the only room that imports deltalake, arro3, pyarrow and duckdb.

For analysts: `connect`, imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nilometer.lake.read.analyst import connect as connect


def __getattr__(name: str) -> Any:
    """PEP 562: a Lambda that writes must not import what reads."""
    if name != "connect":
        raise AttributeError(f"module 'nilometer.lake' has no attribute {name!r}")
    return import_module("nilometer.lake.read.analyst").connect

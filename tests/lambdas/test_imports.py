"""What a function's artifact does not carry is not imported on its path."""

from __future__ import annotations

import subprocess
import sys

_OVER_HTTP = ("http.api", "http.hooks", "webhook")
WITHOUT_THE_LAKE = ("billing", "changes", "limits", "operations", "redrive", "usage", *_OVER_HTTP)
_PROGRAM = """
import importlib, sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"arro3", "deltalake", "duckdb", "pyarrow", "stripe"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
for name in sys.argv[1:]:
    importlib.import_module(f"nilometer.lambdas.{name}")
importlib.import_module("nilometer.flows.publish.asyncapi").document()  # served by http.api
"""


def test_functions_without_the_lake_import_none_of_its_libraries() -> None:
    """Each of them would fail at its first call on AWS, and on a laptop all libraries are there."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *WITHOUT_THE_LAKE], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr

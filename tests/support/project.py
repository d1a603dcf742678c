"""Where the project's own files lie, and the builds that are made of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
HERE = "arm64" if os.uname().machine == "aarch64" else "x86_64"  # the processor of this machine
Build = Callable[[str], Path]  # from a processor to the folder of its build

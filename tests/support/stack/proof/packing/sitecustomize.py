"""For `sam` in tests, whose archives go to an engine on this machine: packed quickly instead of small. A deployment
packs a gigabyte, in a third of the CPU time."""

from __future__ import annotations

import zipfile
from functools import partialmethod

zipfile.ZipFile.__init__ = partialmethod(zipfile.ZipFile.__init__, compresslevel=1)  # type: ignore[method-assign]  # for this process

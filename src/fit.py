"""Makes the console's dependencies fit into Lambda's 250 MB: `python fit.py FOLDER`, for src/Makefile.

pyarrow, DuckDB and deltalake together are more. So pyarrow goes without what nobody calls and without copies of its
libraries, and the two others are packed: the function unpacks them when it starts. The archive has no dates, so that it
is the same for the same lock.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tarfile
from pathlib import Path

UNUSED = ("flight", "_s3", "s3fs", "gcsfs", "azurefs", "hdfs", "orc", "encryption")
LEVEL = 4  # of compression: 6 takes two thirds more time for two of 225 MB
PACKED = ("deltalake", "_duckdb*.so")


def main(folder: Path) -> None:
    """Trims and packs what pip installed there, in place."""
    _trim(folder / "pyarrow")
    packed = [one for name in PACKED for one in sorted(folder.glob(name))]
    with (
        gzip.GzipFile(folder / "packed.tar.gz", "wb", LEVEL, mtime=0) as made,
        tarfile.open(fileobj=made, mode="w") as into,
    ):
        for one in packed:
            into.add(one, one.name, filter=_undated)
    for one in packed:
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def _trim(pyarrow: Path) -> None:
    for name in ("include", "src"):
        shutil.rmtree(pyarrow / name, ignore_errors=True)
    for library in pyarrow.glob("*.so*"):
        name, _, version = library.name.partition(".so")
        # Linked by `NAME.so.2600`; wheels have `NAME.so` and `NAME.so.2600.1.0` beside it, three copies of one file.
        copy = version.count(".") != 1 and any(pyarrow.glob(f"{name}.so.[0-9]*[0-9]"))
        if copy or any(part in name for part in UNUSED):
            library.unlink()


def _undated(one: tarfile.TarInfo) -> tarfile.TarInfo:
    one.mtime, one.uid, one.gid, one.uname, one.gname = 0, 0, 0, "", ""
    return one


if __name__ == "__main__":
    main(Path(sys.argv[1]))

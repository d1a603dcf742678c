"""For `sam` in tests, whose archives go to an engine on this machine.

What it packs is compressed quickly instead of small, and once: fourteen functions share most of their files, and one
build is deployed several times. What was compressed is kept below `.aws-sam` by the digest of its content. Templates
are read by the parser in C.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

_KEPT = Path(__file__).parents[5] / ".aws-sam/packed"
_LARGE = 32 * 1024  # bytes; what is smaller is compressed as fast as it is found
_DEFLATED = (1, zlib.DEFLATED, -15)  # level, method and window of what archives hold


def _deflated(data: bytes) -> bytes:
    """Atomic: another `sam` may look for the same."""
    if len(data) < _LARGE:
        return _compressed(data)
    kept = _KEPT / hashlib.blake2b(data, digest_size=20).hexdigest()
    try:
        return kept.read_bytes()
    except FileNotFoundError:
        found = _compressed(data)
    _KEPT.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=_KEPT)
    with os.fdopen(handle, "wb") as file:
        file.write(found)
    Path(part).rename(kept)
    return found


def _compressed(data: bytes) -> bytes:
    deflate = zlib.compressobj(*_DEFLATED)
    return deflate.compress(data) + deflate.flush()


def _write(archive: Any, info: zipfile.ZipInfo, data: bytes, compress_type: int | None = None, **_: Any) -> None:
    """As `ZipFile.writestr`, of a member that is compressed already."""
    found = _deflated(data)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.CRC, info.file_size, info.compress_size = zlib.crc32(data), len(data), len(found)
    archive._writecheck(info)
    archive._didModify = True
    archive.fp.seek(archive.start_dir)
    info.header_offset = archive.fp.tell()
    archive.fp.write(info.FileHeader(zip64=False))
    archive.fp.write(found)
    archive.start_dir = archive.fp.tell()
    archive.filelist.append(info)
    archive.NameToInfo[info.filename] = info


if any(Path(word).name == "sam" for word in sys.orig_argv[:2]):
    import yaml

    zipfile.ZipFile.writestr = _write  # type: ignore[method-assign,assignment]  # for this process
    if yaml.__with_libyaml__:
        yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc]

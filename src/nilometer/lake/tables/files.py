"""Files of a table by their URI, in one request each: on a disk here, in S3 by `aws.s3.Objects`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nilometer.errors import Misconfigured


class TableFiles(Protocol):
    """Each call is whole or not at all. What raised may have happened."""

    def write(self, uri: str, content: bytes) -> None:
        """Stores `content`; it replaces what is there."""

    def create(self, uri: str, content: bytes) -> bool:
        """Stores `content` where nothing is, whoever else tries. False: somebody has, or is about to."""

    def read_all(self, uris: Sequence[str]) -> list[bytes | None]:
        """At once, in this order; None where there is nothing."""


class FilesOnDisk:
    """Of a lake in a folder. `Misconfigured` for the address of any other."""

    def write(self, uri: str, content: bytes) -> None:
        """Makes the folders on the way."""
        path = _path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def create(self, uri: str, content: bytes) -> bool:
        """By a link, which a file system makes or refuses at once."""
        path = _path(uri)
        made = path.with_name(f"_commit_{uuid.uuid4()}.json.tmp")  # as Delta calls what no reader looks at
        made.write_bytes(content)
        try:
            os.link(made, path)
        except FileExistsError:
            return False
        finally:
            made.unlink()
        return True

    def read_all(self, uris: Sequence[str]) -> list[bytes | None]:
        """Whole: a file has its name only once it is written."""
        return [path.read_bytes() if path.exists() else None for path in map(_path, uris)]


def _path(uri: str) -> Path:
    if "://" in uri:
        raise Misconfigured(
            f"{uri} is on no disk; give the lake what reads and writes there (nilometer.aws.s3.Objects)"
        )
    return Path(uri)

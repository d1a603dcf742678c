"""How far a stream was read: kept over a stop, and put aside when the file was damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from nilometer.local.sources.checkpoints import Checkpoints


def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    """By mapping and shard."""
    Checkpoints(tmp_path / "checkpoints.json").save("relay#records", "shard-1", "42")

    again = Checkpoints(tmp_path / "checkpoints.json")
    assert (again.get("relay#records", "shard-1"), again.get("relay#records", "shard-2")) == ("42", None)
    assert again.damaged is None


@pytest.mark.parametrize("size", [0, 1, 20])
def test_a_truncated_file_is_put_aside(tmp_path: Path, size: int) -> None:
    """Nothing of it is taken for true, the file is kept under another name, and what is saved then is whole."""
    path = tmp_path / "checkpoints.json"
    Checkpoints(path).save("relay#records", "shard-1", "42")
    content = path.read_bytes()[:size]
    path.write_bytes(content)

    again = Checkpoints(path)
    assert again.get("relay#records", "shard-1") is None
    assert again.damaged == tmp_path / "checkpoints.damaged"
    assert again.damaged.read_bytes() == content
    again.save("relay#records", "shard-1", "43")
    assert Checkpoints(path).get("relay#records", "shard-1") == "43"

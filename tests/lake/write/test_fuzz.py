"""0 lost, 0 twice, whatever happens to the writers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nilometer.local.plane.engine import Engine


def storm(project: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.lake.fuzz", *map(str, arguments)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("writers", [2, 4])
def test_nothing_is_lost_or_twice_on_disk(project: Path, tmp_path: Path, writers: int) -> None:
    """Kills, lost answers, batches regrouped and repeated hours apart in event time, a compactor all along."""
    seen = storm(
        project, "--uri", tmp_path / "lake",
        "--events", 4000, "--batch", 50, "--writers", writers, "--seed", writers,
    )  # fmt: skip

    assert (seen["stored"], seen["lost"], seen["twice"]) == (4000, 0, 0)
    assert seen["killed"] > 0


def test_no_row_of_a_book_is_lost_or_twice_on_disk(project: Path, tmp_path: Path) -> None:
    """The same faults over a table of Stripe's objects, whose key is two columns."""
    seen = storm(
        project, "--uri", tmp_path / "lake", "--subject", "items",
        "--events", 3000, "--batch", 50, "--writers", 3, "--seed", 7,
    )  # fmt: skip

    assert (seen["stored"], seen["lost"], seen["twice"]) == (3000, 0, 0)
    assert seen["killed"] > 0


def test_no_row_of_a_book_is_lost_or_twice_in_s3(project: Path, aws: Engine, bucket: str) -> None:
    """Answers and requests that are lost, come twice, or come too late."""
    seen = storm(
        project, "--uri", f"s3://{bucket}/lake", "--endpoint", aws.endpoint_url, "--subject", "items",
        "--events", 1500, "--batch", 125, "--days", 2, "--lose", 0.2, "--writers", 2, "--seed", 7,
    )  # fmt: skip

    assert (seen["stored"], seen["lost"], seen["twice"]) == (1500, 0, 0)
    assert sum(seen["faults"].values()) > 0


@pytest.mark.parametrize("writers", [2, 4])
def test_nothing_is_lost_or_twice_in_s3(project: Path, aws: Engine, bucket: str, writers: int) -> None:
    """Commits whose answer or request is lost, that come twice, or so late that their writer is dead."""
    seen = storm(
        project, "--uri", f"s3://{bucket}/lake", "--endpoint", aws.endpoint_url,
        "--events", 2500, "--batch", 125, "--days", 2, "--lose", 0.2, "--writers", writers, "--seed", writers,
    )  # fmt: skip

    assert (seen["stored"], seen["lost"], seen["twice"]) == (2500, 0, 0)
    assert sum(seen["faults"].values()) > 0


@pytest.mark.parametrize("subject", ["append", "merge"])
def test_no_batch_of_a_dataset_is_lost_or_twice_on_disk(project: Path, tmp_path: Path, subject: str) -> None:
    """The same faults: batches that come again, writers killed in the middle, a compactor all along."""
    seen = storm(
        project, "--uri", tmp_path / "lake", "--subject", subject,
        "--events", 2000, "--batch", 40, "--writers", 3, "--seed", 5,
    )  # fmt: skip

    assert (seen["stored"], seen["lost"], seen["twice"]) == (seen["expected"], 0, 0)
    assert seen["killed"] > 0


@pytest.mark.parametrize("subject", ["append", "merge"])
def test_no_batch_of_a_dataset_is_lost_or_twice_in_s3(project: Path, aws: Engine, bucket: str, subject: str) -> None:
    """Answers and requests that are lost, come twice, or come too late."""
    seen = storm(
        project, "--uri", f"s3://{bucket}/lake", "--endpoint", aws.endpoint_url, "--subject", subject,
        "--events", 1000, "--batch", 50, "--lose", 0.2, "--writers", 2, "--seed", 5,
    )  # fmt: skip

    assert (seen["stored"], seen["lost"], seen["twice"]) == (seen["expected"], 0, 0)
    assert sum(seen["faults"].values()) > 0


def test_the_storm_is_one(project: Path, tmp_path: Path) -> None:
    """A plain append under the same faults stores rows twice: the test can fail."""
    seen = storm(project, "--uri", tmp_path / "lake", "--events", 500, "--plain")

    assert seen["twice"] > 0

"""The journal: what it holds after any end of the process, and what it says when it cannot be used."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nilometer.errors import Misconfigured
from nilometer.local.plane.journal import FILE, Changes, Journal, check


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """Items by key, records and messages in their order; what was removed is gone."""
    journal = Journal(tmp_path / FILE)
    first = Changes(items={("t", "a", "b"): b"1", ("t", "c", "d"): b"2"}, messages={("q", "1"): b"x", ("q", "2"): b"y"})
    first.records += [("t", "02", b"second"), ("t", "01", b"first")]
    journal.write(first)
    journal.write(Changes(items={("t", "a", "b"): None}, messages={("q", "1"): None}, services={"s3": b"{}"}))
    journal.close()

    again = Journal(tmp_path / FILE)
    assert list(again.items()) == [("t", "c", "d", b"2")]
    assert [record for _, record in again.records()] == [b"first", b"second"]
    assert list(again.messages()) == [("q", b"y")]
    assert (again.service("s3"), again.service("sqs")) == (b"{}", None)
    assert check(tmp_path)


def test_the_log_is_folded_into_the_file_beside_the_writer(tmp_path: Path) -> None:
    """Soon after the last write, without another one and without an end."""
    journal = Journal(tmp_path / FILE)
    journal.write(Changes(items={("t", str(number), ""): b"x" * 1000 for number in range(100)}))
    deadline = time.monotonic() + 20

    while (tmp_path / FILE).stat().st_size < 100_000 and time.monotonic() < deadline:
        time.sleep(0.05)

    assert (tmp_path / FILE).stat().st_size > 100_000
    journal.close()


WRITER = """
import sys
import time
from pathlib import Path
from nilometer.local.plane.journal import Changes, Journal
journal, number = Journal(Path(sys.argv[1])), 0
while True:
    journal.write(Changes(items={("t", str(number), ""): b"x" * 500, ("t", f"{number}+", ""): b"x"}))
    print(number, flush=True)
    number += 1
"""


def test_a_kill_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """And leaves no half of a transaction: five times in the middle of writing."""
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / FILE], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        last = [int(writer.stdout.readline()) for _ in range(50)][-1]
        os.kill(writer.pid, signal.SIGKILL)
        last = max([last, *(int(line) for line in writer.stdout.read().split())])
        writer.wait()

        assert check(tmp_path)
        found = {pk for _, pk, _, _ in Journal(tmp_path / FILE).items()}
        assert {str(number) for number in range(last + 1)} <= found
        assert {pk for pk in found if not pk.endswith("+")} == {pk[:-1] for pk in found if pk.endswith("+")}


@pytest.mark.parametrize("size", [100, 5_000])
def test_a_truncated_file_is_named(size: int, tmp_path: Path) -> None:
    """With what to do; the file is left as it is."""
    journal = Journal(tmp_path / FILE)
    journal.write(Changes(items={("t", str(number), ""): b"x" * 1000 for number in range(100)}))
    journal.close()
    with (tmp_path / FILE).open("r+b") as file:
        file.truncate(size)

    with pytest.raises(Misconfigured, match=r"journal\.sqlite3 is damaged; move it away.*nilometer rebuild"):
        check(tmp_path)
    assert (tmp_path / FILE).stat().st_size == size


def test_a_folder_without_a_journal_has_none(tmp_path: Path) -> None:
    """The first start makes it."""
    assert not check(tmp_path)
    assert check(tmp_path)


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_a_full_disk_stops_writing_and_loses_nothing(tmp_path: Path) -> None:
    """What was answered before is there, and the file is whole."""
    writer = subprocess.run(
        [sys.executable, "-c", WRITER, tmp_path / FILE],
        capture_output=True,
        text=True,
        preexec_fn=_small_files,
        check=False,
    )

    assert "disk" in writer.stderr.splitlines()[-1]
    last = int(writer.stdout.split()[-1])
    assert last > 10
    assert check(tmp_path)
    found = {pk for _, pk, _, _ in Journal(tmp_path / FILE).items()}
    assert {str(number) for number in range(last + 1)} <= found

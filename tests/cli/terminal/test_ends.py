"""How a command ends when nobody reads any more, when it is interrupted, and when it fails for a machine."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MANY = "select i, repeat('x', 100) from range(2000000) t(i)"
LONG = "select sum(a.i * b.i) from range(200000) a(i), range(2000000) b(i)"
TAKES_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from nilometer.cli import main
main()
"""


@contextlib.contextmanager
def command(nilometer: Any, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """It ends with the test, and takes Ctrl-C also where this process ignores it (a job in the background)."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES_CTRL_C, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=nilometer.environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """What a process has used, as Linux counts it."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_a_reader_that_has_seen_enough_is_no_failure(nilometer: Any, stack: Any, form: str) -> None:
    """`| head -2` ends the command with 0 and without a message, as scripts with `pipefail` need."""
    with command(nilometer, "query", MANY, form) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()

        assert process.stderr.read() == ""
        assert process.wait(120) == 0


def test_ctrl_c_ends_a_query_at_once(nilometer: Any, stack: Any) -> None:
    """Exit code 130, no traceback, while DuckDB computes and Python cannot run."""
    with command(nilometer, "query", LONG) as process:
        while cpu_seconds(process.pid) < 4:  # it computes by then, on a busy machine too
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        used, before = cpu_seconds(process.pid), resource.getrusage(resource.RUSAGE_CHILDREN)

        assert process.wait(120) == 130
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - used < 5  # of CPU, on all cores
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("usage", "show", "acme", "--json"), 1, "misconfigured"),
        (("usage", "show", "--json"), 2, "usage"),
        (("nonsense", "--json"), 2, "usage"),
    ],
)
def test_an_error_is_an_object_for_who_asked_for_json(alone: Any, arguments: Any, code: int, error: str) -> None:
    """One line on stderr: what kind, and the sentence that people see; stdout stays empty."""
    answer = alone(*arguments)

    found = json.loads(answer.err)
    assert (answer.code, answer.out, found["error"]) == (code, "", error)
    assert found["message"]


def test_a_bare_installation_says_what_to_install() -> None:
    """`pip install nilometer` is the library; its command names the extras instead of a traceback."""
    code = "import sys; sys.modules['click'] = None; from nilometer.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: click is not installed.")
    assert "pip install 'nilometer[cli]'" in done.stderr


SLOW_IMPORT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
slow = sys.argv.pop(1)

class Slow:
    def find_spec(name, path=None, target=None):
        if name == slow:
            print("importing", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow)
from nilometer.cli import main
main()
"""


@pytest.mark.parametrize("module", ["click", "nilometer.cli.program", "nilometer.cli.stack.stacks"])
def test_ctrl_c_while_importing_ends_with_130(alone: Any, module: str) -> None:
    """No traceback, whether the program, its library or the module of the command is being imported."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_IMPORT, module, "ls"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=alone.environment,
    )
    assert process.stdout
    assert process.stdout.readline() == "importing\n"

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=50)

    assert (process.returncode, said.strip()) == (130, "")  # click may end the line that shows ^C

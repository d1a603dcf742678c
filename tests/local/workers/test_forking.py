"""Workers that are forked: what differs from processes of their own, and must not be noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import soon

from nilometer.local.plane.deployed import Function
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.fork_server import SHARED
from nilometer.local.workers.forking import Forking
from nilometer.local.workers.pool import Pool
from nilometer.local.workers.workers import environment_of

Make = Callable[..., Pool]
HANDLER = """
    def handler(event, context):
        main = os.path.basename(sys.modules["__main__"].__file__)
        return {"pid": os.getpid(), "server": os.getppid(), "main": main, "title": open("/proc/self/comm").read()}
"""


@pytest.fixture
def forking() -> Iterator[Forking]:
    made = Forking()
    yield made
    made.close()


@pytest.fixture
def pool(tmp_path: Path, forking: Forking) -> Iterator[Make]:
    """Makes the pool of a handler; everything is closed at the end."""
    made: list[Pool] = []

    def make(code: str, name: str = "subject") -> Pool:
        (tmp_path / f"{name}.py").write_text("import os, sys, time\n" + textwrap.dedent(code))
        function = Function(name=name, arn="a", handler=f"{name}.handler", timeout=10, memory=1, environment={})
        variables = environment_of(function, aws={}, extra={"PYTHONPATH": str(tmp_path)})
        log = tmp_path / f"{name}.log"
        made.append(Pool(function, environment=variables, log=log, size=1, activity=Activity(), launcher=forking))
        return made[-1]

    yield make
    for each in made:
        each.close()


def seen(subject: Pool) -> Any:
    answer = subject.invoke(b"{}")
    assert answer.error is None, answer.payload
    return json.loads(answer.payload)


def test_functions_of_a_stack_have_one_server_and_a_name_each(pool: Make) -> None:
    """`ps` and `top` tell the workers apart."""
    first, second = seen(pool(HANDLER)), seen(pool(HANDLER, "other"))

    assert first["server"] == second["server"] != os.getpid()
    assert first["pid"] != second["pid"]
    assert [first["title"], second["title"]] == ["subject\n", "other\n"]
    assert first["main"] == "fork_server.py"


def test_a_killed_server_takes_its_workers_along_and_all_start_again(pool: Make, tmp_path: Path) -> None:
    """Who runs at that moment fails, as when its worker is killed."""
    subjects = [pool(HANDLER), pool(HANDLER, "other")]
    before = [seen(subject) for subject in subjects]

    os.kill(before[0]["server"], signal.SIGKILL)

    assert soon(lambda: all(subject.restarts for subject in subjects))
    after = [seen(subject) for subject in subjects]
    assert after[0]["server"] == after[1]["server"] != before[0]["server"]
    assert soon(lambda: not any(runs(one["pid"]) for one in before))


def test_a_worker_that_leaves_a_process_behind_is_missed_at_once(pool: Make) -> None:
    """A process of its own that holds all files open must not hide the end."""
    subject = pool(
        """
        def handler(event, context):
            if not event:
                return os.getpid()
            if not os.fork():
                time.sleep(5)
            os.kill(os.getpid(), 9)
        """
    )
    first = seen(subject)

    assert subject.invoke(b'{"end": true}').error == "Runtime.ExitError"
    assert soon(lambda: subject.restarts == 1)
    assert seen(subject) != first


def test_renewed_workers_import_the_sources_of_now(pool: Make, forking: Forking, tmp_path: Path) -> None:
    """Also what the server had imported: it is another one."""
    subject = pool(HANDLER)
    before = seen(subject)

    forking.renew()
    subject.renew()

    assert soon(lambda: subject.restarts)
    assert seen(subject)["server"] != before["server"]
    assert soon(lambda: not runs(before["server"]))


def test_a_server_with_a_second_thread_does_not_fork_handlers(pool: Make, tmp_path: Path) -> None:
    """A thread is gone in a fork, maybe with a lock in its hand: such a worker begins from nothing."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )

    assert seen(pool(HANDLER))["main"] == "worker.py"


def test_what_is_shared_can_be_imported_and_survives_a_fork() -> None:
    """Each module is there; none begins a thread, opens a connection or reads the environment of a function."""
    script = f"""
        import importlib, os, sys
        for name in {SHARED!r}:
            importlib.import_module(name)
        print(len(os.listdir("/proc/self/task")))
        print([name for name in sys.modules if name.partition(".")[0] in ("deltalake", "arro3", "duckdb", "pyarrow")])
        print([name for name in sys.modules if name.startswith("nilometer.lambdas")])
        print([link for file in os.listdir("/proc/self/fd") if (link := link_of(file)).startswith("socket")])
    """
    link = "def link_of(file):\n    try: return os.readlink(f'/proc/self/fd/{file}')\n    except OSError: return ''\n"
    ran = subprocess.run(
        [sys.executable, "-c", "import os\n" + link + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )

    assert ran.stdout.split("\n") == ["1", "[]", "[]", "[]", ""]


def runs(pid: int) -> bool:
    """A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False

"""How functions run: real processes behind the Runtime API."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import soon

from nilometer.local.plane.deployed import Function
from nilometer.local.workers.activity import Activity
from nilometer.local.workers.chaos import Sabotage
from nilometer.local.workers.forking import Forking
from nilometer.local.workers.pool import Pool
from nilometer.local.workers.processes import Launcher, Spawning
from nilometer.local.workers.runtime import InvocationResult
from nilometer.local.workers.workers import environment_of

Make = Callable[..., Pool]


@pytest.fixture(params=[Forking, Spawning])
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    """Linux has both, and every worker is the same to who uses it."""
    made: Launcher = request.param()
    yield made
    made.close()


@pytest.fixture
def pool(tmp_path: Path, launcher: Launcher) -> Iterator[Make]:
    """Makes the pool of a handler; everything is closed at the end."""
    made: list[Pool] = []

    def make(code: str, *, module: str = "subject", timeout: int = 10, size: int = 2, **environment: str) -> Pool:
        (tmp_path / f"{module}.py").write_text("import json, os, sys, time\n" + textwrap.dedent(code))
        function = Function(
            name="subject",
            arn="arn:aws:lambda:us-east-1:000000000000:function:subject",
            handler=f"{module}.handler",
            timeout=timeout,
            memory=256,
            environment=environment,
        )
        variables = environment_of(function, aws={"AWS_REGION": "us-east-1"}, extra={"PYTHONPATH": str(tmp_path)})
        log = tmp_path / "subject.log"
        activity = Activity()
        made.append(Pool(function, environment=variables, log=log, size=size, activity=activity, launcher=launcher))
        return made[-1]

    yield make
    for each in made:
        each.close()


BUSY = """
def handler(event, context):
    if event: return "old"
    with open(f"{os.environ['BUSY']}/writing", "w") as begun: begun.write(str(os.getpid()))
    os.rename(begun.name, f"{os.environ['BUSY']}/begun")
    end = time.monotonic() + 60
    while not os.path.exists(f"{os.environ['BUSY']}/end") and time.monotonic() < end: time.sleep(0.02)
    return "old"
"""


def value(answer: InvocationResult) -> Any:
    assert answer.error is None, answer.payload
    return json.loads(answer.payload)


def test_what_nobody_waits_for_gives_way(pool: Make) -> None:
    """Also to processes of other sessions, where Linux shares its processors among them."""
    code = """
        def handler(event, context):
            grouped = os.path.exists("/proc/self/autogroup")
            return os.nice(0), open("/proc/self/autogroup").read().split()[-1] if grouped else None
        """
    (first, _), (behind, group) = (value(pool(code, module=one).invoke(b"1")) for one in ("subject", "lake"))

    assert behind == min(first + 10, 19)
    assert group in (None, "10")


def test_a_function_sees_lambdas_environment_and_context(pool: Make) -> None:
    """Lambda Developer Guide, "Defined runtime environment variables" and "Lambda context object in Python"."""
    subject = pool(
        """
        def handler(event, context):
            names = "AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_REGION _HANDLER STAGE".split()
            return {
                "event": event,
                "environment": {name: os.environ.get(name) for name in names},
                "left": context.get_remaining_time_in_millis(),
                "arn": context.invoked_function_arn,
            }
        """,
        timeout=300,
        STAGE="local",
    )

    seen = value(subject.invoke(b'{"a": 1}'))

    assert seen["event"] == {"a": 1}
    assert seen["environment"] == {
        "AWS_LAMBDA_FUNCTION_NAME": "subject",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_REGION": "us-east-1",
        "_HANDLER": "subject.handler",
        "STAGE": "local",
    }
    assert 240_000 < seen["left"] <= 300_000
    assert seen["arn"].endswith(":function:subject")


def test_nothing_of_the_users_environment_reaches_a_function(pool: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real credentials on the machine must stay out of the stack."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_x")
    subject = pool("def handler(event, context): return dict(os.environ)")

    seen = value(subject.invoke(b"{}"))

    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "STRIPE_API_KEY"} & seen.keys()


def test_output_of_a_function_is_in_its_log(pool: Make, tmp_path: Path) -> None:
    """Standard output, standard error and logging, as in a log group."""
    subject = pool(
        """
        import logging
        def handler(event, context):
            print("from print"); print("from stderr", file=sys.stderr); logging.warning("from logging")
        """
    )

    subject.invoke(b"{}")

    log = (tmp_path / "subject.log").read_text()
    assert all(line in log for line in ("from print", "from stderr", "from logging"))


def test_an_exception_is_a_function_error(pool: Make) -> None:
    """Lambda Developer Guide, "Lambda function errors in Python"; the worker goes on."""
    subject = pool(
        """
        def handler(event, context):
            if event: raise KeyError("missing")
            return os.getpid()
        """
    )

    before = value(subject.invoke(b"{}"))
    answer = subject.invoke(b'{"a": 1}')

    assert answer.error == "KeyError"
    assert json.loads(answer.payload)["errorMessage"] == "'missing'"
    assert value(subject.invoke(b"{}")) == before
    assert (subject.errors, subject.restarts) == (1, 0)


def test_a_function_past_its_timeout_is_killed_and_replaced(pool: Make) -> None:
    """Lambda Developer Guide, "Configure Lambda function timeout": the invocation fails, the sandbox is gone."""
    subject = pool(
        """
        def handler(event, context):
            if event: time.sleep(60)
            return os.getpid()
        """,
        timeout=4,  # enough for what does not sleep, on a busy machine too
    )
    before = value(subject.invoke(b"{}"))

    start = time.monotonic()
    answer = subject.invoke(b'{"a": 1}')

    assert answer.error == "Sandbox.Timedout"
    assert b"Task timed out after 4.00 seconds" in answer.payload
    assert 4 <= time.monotonic() - start < 30
    after = value(subject.invoke(b"{}"))
    assert after != before
    assert soon(lambda: not alive(before))  # a kernel that is busy takes its time to end what was killed


def test_a_killed_worker_fails_its_invocation_and_is_replaced(pool: Make) -> None:
    """Lambda Developer Guide, "Troubleshoot execution issues": Runtime.ExitError."""
    subject = pool(
        """
        def handler(event, context):
            if event: os.kill(os.getpid(), 9)
            return os.getpid()
        """
    )
    before = value(subject.invoke(b"{}"))

    answer = subject.invoke(b'{"a": 1}')

    assert answer.error == "Runtime.ExitError"
    assert value(subject.invoke(b"{}")) != before
    assert subject.restarts == 1


def test_a_function_that_cannot_start_says_why(pool: Make) -> None:
    """Lambda Developer Guide, "Troubleshoot execution issues": Runtime.ImportModuleError."""
    subject = pool("import does_not_exist")

    answer = subject.invoke(b"{}")

    assert answer.error == "Runtime.ImportModuleError"
    assert b"does_not_exist" in answer.payload


def test_a_worker_runs_one_invocation_at_a_time_and_the_pool_grows(pool: Make, tmp_path: Path) -> None:
    """Lambda Developer Guide, "Understanding Lambda function scaling": concurrency, here with a bound of two."""
    here = tmp_path / "here"
    here.mkdir()
    subject = pool(
        """
        def handler(event, context):
            open(f"{os.environ['HERE']}/{os.getpid()}", "w").close()
            end = time.monotonic() + 30
            while len(os.listdir(os.environ["HERE"])) < 2 and time.monotonic() < end: time.sleep(0.02)
            time.sleep(0.3)
            return os.getpid()
        """,
        timeout=60,
        HERE=str(here),
    )
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(value(subject.invoke(b"{}")))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert len(set(found)) == 2


def test_who_waits_too_long_for_a_worker_is_throttled(pool: Make, tmp_path: Path) -> None:
    """Lambda API Reference, Invoke: TooManyRequestsException."""
    subject = pool(BUSY, size=1, BUSY=str(tmp_path))
    busy = threading.Thread(target=subject.invoke, args=(b"{}",))
    busy.start()
    assert soon((tmp_path / "begun").exists)

    assert subject.invoke(b"{}", patience=0.1).error == "TooManyRequestsException"
    (tmp_path / "end").touch()
    busy.join()


@pytest.mark.parametrize(
    ("sabotage", "ran", "error"),
    [
        (Sabotage(kill_after=0.1), False, "Runtime.ExitError"),
        (Sabotage(kill_finished=True), True, "Runtime.ExitError"),
        (Sabotage(drop_answer=True), True, "Chaos.AnswerDropped"),
    ],
)
def test_chaos_strikes_before_or_after_the_work(
    pool: Make, tmp_path: Path, sabotage: Sabotage, ran: bool, error: str
) -> None:
    """Killed early the work is not done, killed late it is; in both cases, and without an answer, it failed."""
    subject = pool(
        """
        def handler(event, context):
            if not event: return
            time.sleep(event["seconds"])
            open(event["path"], "w").close()
        """,
        timeout=60,
    )
    value(subject.invoke(b"{}"))

    event = {"path": str(tmp_path / "done"), "seconds": 0.1 if ran else 30}
    answer = subject.invoke(json.dumps(event).encode(), sabotage=sabotage)

    assert answer.error == error
    assert (tmp_path / "done").exists() is ran


def test_a_closed_pool_leaves_no_process_and_no_thread(pool: Make, tmp_path: Path) -> None:
    """What runs fails at once."""
    threads = set(threading.enumerate())
    subject = pool(BUSY, timeout=120, BUSY=str(tmp_path))
    answers: list[InvocationResult] = []
    busy = threading.Thread(target=lambda: answers.append(subject.invoke(b"{}")))
    busy.start()
    assert soon((tmp_path / "begun").exists)
    pid = int((tmp_path / "begun").read_text())

    subject.close()
    busy.join(30)

    assert answers[0].error == "Runtime.ExitError"
    assert soon(lambda: not alive(pid))
    assert soon(lambda: set(threading.enumerate()) <= threads)


@pytest.mark.parametrize("how", ["Forking", "Spawning"])
def test_a_worker_ends_with_its_runner_in_the_middle_of_its_work(tmp_path: Path, how: str) -> None:
    """SIGKILL to the runner leaves nothing running, also while a handler hangs."""
    (tmp_path / "subject.py").write_text(
        "import os, time\ndef handler(event, context):\n"
        "    open(event['path'], 'w').write(str(os.getpid()))\n    time.sleep(600)\n"
    )
    script = f"""
        import json
        from pathlib import Path
        from nilometer.local.workers.activity import Activity
        from nilometer.local.workers.forking import Forking
        from nilometer.local.workers.processes import Spawning
        from nilometer.local.plane.deployed import Function
        from nilometer.local.workers.pool import Pool
        from nilometer.local.workers.workers import environment_of
        function = Function(name="s", arn="a", handler="subject.handler", timeout=600, memory=1, environment={{}})
        variables = environment_of(function, aws={{}}, extra={{"PYTHONPATH": {str(tmp_path)!r}}})
        log, activity = Path({str(tmp_path / "log")!r}), Activity()
        pool = Pool(function, environment=variables, log=log, size=1, activity=activity, launcher={how}())
        pool.invoke(json.dumps({{"path": {str(tmp_path / "pid")!r}}}).encode())
    """
    runner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    path = tmp_path / "pid"
    assert soon(lambda: path.exists() and path.read_text())
    worker = int(path.read_text())
    assert alive(worker)

    runner.send_signal(signal.SIGKILL)
    runner.wait()

    assert soon(lambda: not alive(worker))


def alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_renewed_workers_run_the_sources_as_they_are_now(pool: Make, tmp_path: Path) -> None:
    """The idle ones end at once; one that decides answers first, from the old sources."""
    subject = pool(BUSY, timeout=120, BUSY=str(tmp_path))
    answers: list[Any] = []
    busy = threading.Thread(target=lambda: answers.append(value(subject.invoke(b"{}"))))
    assert value(subject.invoke(b'{"idle": 1}')) == "old"
    busy.start()
    assert soon((tmp_path / "begun").exists)

    (tmp_path / "subject.py").write_text("def handler(event, context):\n    return 'a new answer'\n")
    subject.renew()
    renewed = value(subject.invoke(b"{}"))
    (tmp_path / "end").touch()
    busy.join()

    assert (renewed, answers) == ("a new answer", ["old"])
    assert value(subject.invoke(b"{}")) == "a new answer"

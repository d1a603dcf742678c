"""One engine for a test session; each test gets tables, a bus or a bucket of its own in it.

It is emptied after every few tests: with each change of its own settings it writes those of all that it holds, so what
earlier tests left would soon cost more than the tests. What is to last longer than a test has an engine of its own.
"""

from __future__ import annotations

import gc
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, settings
from tests.support.stores.engine import new_store

from nilometer.aws.dynamodb import Store
from nilometer.domain.usage.period import calendar_month
from nilometer.local.plane.engine import REGION, Engine, engine

# Beginnings of node ids, and what they contain: they share what takes long to make (a build, a deployment, a stack with
# something in it), so one worker runs them. Groups begin before single tests; a larger one before a smaller one.
TOGETHER = (
    ("tests/template/functions/test_deployment.py", ""),
    ("tests/template/functions/test_guide.py", ""),
    ("tests/template/functions/test_carrying_on.py", ""),
    ("tests/template/functions/test_build.py", "arm64"),
    ("tests/template/functions/test_build.py", "x86_64"),
    ("tests/template/functions/test_rules.py", ""),
    ("tests/cli/billing/test_billing_commands.py", ""),
    ("tests/cli/billing/test_decide_commands.py", ""),
    ("tests/cli/billing/test_stripe_endpoint_commands.py", ""),
    ("tests/cli/console/", ""),
    ("tests/cli/people/test_history_of_people.py", ""),
    ("tests/cli/recovery/test_dlq_commands.py", ""),
    ("tests/cli/recovery/test_replay_commands.py", ""),
    ("tests/cli/stack/test_doctor.py", ""),
    ("tests/flows/api/test_stack.py", ""),
    ("tests/house/test_package.py", ""),
    ("tests/house/test_site.py", ""),
    ("tests/lake/read/test_readers.py", ""),
    ("tests/lake/read/test_book_readers.py", ""),
    ("tests/lake/warehouse/", ""),
    ("tests/local/plane/test_deploy.py", ""),
)
# Of single tests the longest begin first: at the end of a run no worker waits for one.
LONGEST = (
    "tests/local/stack/",
    "tests/flows/inbox/test_hostile.py",
    "tests/simulation/",
    "tests/lake/write/test_fuzz.py",
    "tests/cli/stack/",
    "tests/cli/terminal/test_outputs.py",
    "tests/cli/recovery/",
    "tests/local/",
    "tests/template/test_lint.py",
    "tests/house/test_lint.py",
)
EMPTIED_AFTER = 8  # tests that used the engine
ENGINE = pytest.StashKey[Engine]()
USES = pytest.StashKey[int]()
LONGEST_TEST = timedelta(minutes=3)  # from what a test sends to where it asks for it, on a busy machine


# A busy machine is no fault of the code: no example has a deadline, and no generation is too slow.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of `LONGEST`; all others stay as they were collected. Of tests with one id workers would run one."""
    twice = [nodeid for nodeid, times in Counter(item.nodeid for item in items).items() if times > 1]
    if twice:
        raise pytest.UsageError(f"{twice[0]}: several tests have this id")

    def place(item: pytest.Item) -> int:
        return next((at for at, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What is imported and collected stays: the garbage collector need not look through it time and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Else libraries say at the end of the process that they have leaked."""
    gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No test begins in the last minutes of a UTC month: what it sends is asked for in the same period."""
    end = calendar_month(datetime.now(UTC)).end
    while end - LONGEST_TEST < datetime.now(UTC) < end + timedelta(seconds=2):
        time.sleep(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """When the test's own fixtures have ended, nothing of it is needed in the engine any more."""
    yield
    if ENGINE in item.config.stash and "aws" in getattr(item, "fixturenames", ()):
        uses = item.config.stash.get(USES, 0) + 1
        item.config.stash[USES] = uses
        if uses % EMPTIED_AFTER == 0:
            where = f"{item.config.stash[ENGINE].endpoint_url}/_ministack/reset"
            urllib.request.urlopen(urllib.request.Request(where, method="POST"), timeout=60).close()  # noqa: S310  # our own engine


MAY_LACK = ("beside the project", "is a shallow clone")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI set nothing is skipped: an engine that is missing there is a fault of the machine.

    Public data that may lie beside a checkout is no part of it, so a test of that data may be skipped; and a shallow
    clone has no earlier release.
    """
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if os.environ.get("CI") and skipped and not any(reason in str(report.longrepr) for reason in MAY_LACK):
        report.outcome = "failed"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Together on one worker: what asks one build or one deployment. All others go a test at a time.

    xdist's own marker for it has no effect with pytest 9.2, whose node ids it does not write any more.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next(
                (f"{start}{end}" for start, end in TOGETHER if nodeid.startswith(start) and end in nodeid), nodeid
            )

    return Scheduling(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests have measured (`record_property("measured", (row, column, value))`), where CI shows it."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    measured = [value for r in reports for name, value in getattr(r, "user_properties", ()) if name == "measured"]
    if not measured:
        return
    cells = {(row, column): value for row, column, value in measured}
    columns = sorted({column for _, column in cells})
    terminalreporter.section("measured")
    terminalreporter.write_line("".join(f"{column:>20}" for column in ["", *columns]))
    for row in sorted({row for row, _ in cells}):
        terminalreporter.write_line(
            "".join(f"{cell:>20}" for cell in [row, *(cells.get((row, c), "") for c in columns)])
        )


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Engine]:
    """A running engine, and the environment of this process pointing at it. Tests find it empty every now and then."""
    data = tmp_path_factory.mktemp("engine")
    with engine(port=0, data=data, log=data / "engine.log", saved=False) as running:
        before = dict(os.environ)
        os.environ.update(running.environment)
        pytestconfig.stash[ENGINE] = running
        yield running
        del pytestconfig.stash[ENGINE]
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def dynamodb(aws: Engine) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=aws.endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        # As ours are (`nilometer.aws.clients`), but for their patience: on a busy machine an answer may take seconds.
        config=Config(parameter_validation=False, user_agent="nilometer"),
    )


@pytest.fixture
def store(dynamodb: Any) -> Store:
    """Fresh, empty `records` and `events` tables."""
    return new_store(dynamodb)


@pytest.fixture
def project() -> Path:
    return Path(__file__).parent.parent

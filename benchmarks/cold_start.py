"""What a handler's cold start costs, in CPU of a fresh interpreter: the least of many runs that alternate, for what
else the machine does only adds to it.

    .venv/bin/python benchmarks/cold_start.py BUILD [PYTHON]      beyond boto3
    .venv/bin/python benchmarks/cold_start.py --trees OLD NEW     importing each handler from two source trees

BUILD is what `make build ARCHITECTURE=...` made for this machine's processor, PYTHON a Python 3.13. Goal: a webhook
costs at most 1.2 times boto3 and the one client that no function can do without. OLD and NEW are two states of `src`,
with the libraries of this environment. Goal: no handler costs more than before.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

RUNS = 15
GOAL = 1.2
NOTHING = "pass"
BASELINE = """
import boto3
from botocore.config import Config
boto3.session.Session().client("events", config=Config(retries={"mode": "standard"}))
"""
IMPORT = "import sys; sys.path.insert(0, {tree!r}); import nilometer.lambdas.{flow}"
TOLERANCE = 1.03  # it repeats within some percent
FLOWS = ("webhook", "billing", "usage", "operations", "changes", "limits", "lake")
HANDLER = """
import nilometer.lambdas.{flow} as module
for value in list(vars(module).values()):
    if hasattr(value, "cache_clear") and value.__module__ == module.__name__:
        value()
"""
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_NAME": "measured",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "BUS_NAME": "bus",
    "STRIPE_SECRET_ARN": "arn",
    "LAKE_BUCKET": "bucket",
    "LAKE_URI": "s3://bucket/lake",
    "RECORDS_TABLE": "records",
    "EVENTS_TABLE": "events",
    "LAKE_STRIPE_EVENTS_QUEUE_URL": "https://queue.test/1",
    "LAKE_USAGE_QUEUE_URL": "https://queue.test/2",
    "AUDIT_KEY_ARN": "arn",
}


def cpu_seconds(python: str, artifact: Path, program: str) -> float:
    """User and system time of one fresh interpreter that sees the artifact and its own library alone."""
    return run_seconds([python, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(artifact)!r})\n{program}"])


def run_seconds(command: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)  # to the microsecond; os.times counts hundredths
    subprocess.run(command, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def least(cost: Callable[[str], float], programs: Sequence[str]) -> list[float]:
    """Of each program, run in turns, so that what else the machine does falls on all alike."""
    runs = [[cost(program) for program in programs] for _ in range(RUNS)]
    return [min(times) for times in zip(*runs, strict=True)]


def compare(old: Path, new: Path, flows: Sequence[str]) -> None:
    """Each handler from both trees, compiled as a deployed one is; the interpreter itself is taken off."""
    print(f"{'function':<12}{'old':>9}{'new':>9}{'ratio':>7}   CPU ms, least of {RUNS} runs in turns")
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**ENVIRONMENT, "PYTHONPYCACHEPREFIX": compiled}

        def cost(program: str) -> float:
            return run_seconds([sys.executable, "-c", program], environment)

        for flow in flows:
            programs = [NOTHING, *(IMPORT.format(tree=str(tree.resolve()), flow=flow) for tree in (old, new))]
            for program in programs:
                cost(program)  # compiles
            nothing, before, after = (1000 * one for one in least(cost, programs))
            ratio = (after - nothing) / (before - nothing)
            verdict = "goal met" if ratio <= TOLERANCE else "goal: not more than before"
            print(f"{flow:<12}{before - nothing:>9.0f}{after - nothing:>9.0f}{ratio:>7.2f}  {verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, nargs="?")
    parser.add_argument("python", nargs="?", default="python3.13")
    parser.add_argument("--trees", type=Path, nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument("--only", choices=FLOWS, action="append", help="these handlers")
    arguments = parser.parse_args()
    if arguments.trees:
        compare(*arguments.trees, arguments.only or FLOWS)
        return
    if arguments.build is None:
        parser.error("name the build, .aws-sam/build after `make build ARCHITECTURE=x86_64`, or two trees with --trees")
    print(f"{'function':<12}{'handler':>9}{'boto3+1':>9}{'ratio':>7}   CPU ms, least of {RUNS}, interpreter taken off")
    for flow in arguments.only or FLOWS:
        artifact = arguments.build / f"{flow.title()}Function"
        programs = [NOTHING, BASELINE, HANDLER.format(flow=flow)]
        nothing, baseline, handler = least(partial(cpu_seconds, arguments.python, artifact), programs)
        ratio = (handler - nothing) / (baseline - nothing)
        verdict = "" if flow != "webhook" else ("  goal met" if ratio <= GOAL else f"  goal is {GOAL}")
        print(f"{flow:<12}{1000 * (handler - nothing):>9.0f}{1000 * (baseline - nothing):>9.0f}{ratio:>7.2f}{verdict}")


if __name__ == "__main__":
    main()

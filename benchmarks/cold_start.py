"""What a webhook's cold start costs beyond boto3: `.venv/bin/python benchmarks/cold_start.py BUILD [PYTHON]`.

BUILD is what `make build ARCHITECTURE=...` made for this machine's processor, PYTHON a Python 3.13. CPU seconds of a
fresh interpreter, median of many runs, so that a busy machine changes little. Goal: at most 1.2 times boto3 and the
one client that no function can do without.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

RUNS = 15
GOAL = 1.2
NOTHING = "pass"
BASELINE = """
import boto3
from botocore.config import Config
boto3.session.Session().client("events", config=Config(retries={"mode": "standard"}))
"""
FLOWS = ("webhook", "billing", "usage", "operations", "changes", "limits", "lake")
HANDLER = """
import nilometer.lambdas.{flow} as module
for value in list(vars(module).values()):
    if hasattr(value, "cache_clear") and value.__module__ == module.__name__:
        value()
"""
ENVIRONMENT = {
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
    before = os.times()
    subprocess.run(
        [python, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(artifact)!r})\n{program}"],
        env=ENVIRONMENT,
        check=True,
    )
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def median(python: str, artifact: Path, programs: Sequence[str]) -> list[float]:
    """Of each program, run in turns, so that what else the machine does falls on all alike."""
    runs = [[cpu_seconds(python, artifact, program) for program in programs] for _ in range(RUNS)]
    return [statistics.median(times) for times in zip(*runs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("python", nargs="?", default="python3.13")
    arguments = parser.parse_args()
    print(f"{'function':<12}{'handler':>9}{'boto3+1':>9}{'ratio':>7}   CPU ms, median of {RUNS}, interpreter taken off")
    for flow in FLOWS:
        artifact = arguments.build / f"{flow.title()}Function"
        programs = [NOTHING, BASELINE, HANDLER.format(flow=flow)]
        nothing, baseline, handler = median(arguments.python, artifact, programs)
        ratio = (handler - nothing) / (baseline - nothing)
        verdict = "" if flow != "webhook" else ("  goal met" if ratio <= GOAL else f"  goal is {GOAL}")
        print(f"{flow:<12}{1000 * (handler - nothing):>9.0f}{1000 * (baseline - nothing):>9.0f}{ratio:>7.2f}{verdict}")


if __name__ == "__main__":
    main()

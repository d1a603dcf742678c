"""What a check of `nilometer doctor` found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from nilometer.errors import NilometerError


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`found` says how it is; `advice`, in one sentence, what to do. Neither ever holds a secret."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """All is as it must be."""
    return Finding(check=check, verdict=Verdict.OK, found=found)


def warn(check: str, found: str, advice: str) -> Finding:
    """It works, but not as it should."""
    return Finding(check=check, verdict=Verdict.WARN, found=found, advice=advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check=check, verdict=Verdict.FAIL, found=found, advice=advice)


def skip(check: str, found: str) -> Finding:
    """It was not looked at, and why."""
    return Finding(check=check, verdict=Verdict.SKIP, found=found)


def guarded(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that is refused, or not answered, is a finding too; the other checks go on."""
    try:
        yield from look()
    except NilometerError as error:
        yield fail(check, str(error), "")
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        yield fail(check, f"AWS: {error}", "Check credentials, region and the rights of this identity.")

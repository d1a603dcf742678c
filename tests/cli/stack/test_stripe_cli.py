"""`nilometer local --stripe` and `--reload`: Stripe's command line beside the stack, and functions that start again."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.command_line import Answer, CommandLine, Local

import nilometer as nilometer_package
from nilometer.local.stack.sources_watch import SourcesWatch

SECRET = "whsec_" + "of_stripes_command_line"
LISTENS = f"""\
#!{sys.executable}
import json, os, sys, time, urllib.request
from nilometer.domain.stripe.signature import sign

if sys.argv[1:] == ["listen", "--print-secret"]:
    print("{SECRET}")
    sys.exit()
if sys.argv[1:3] != ["listen", "--forward-to"]:
    sys.exit("what Stripe's command line does not know")
open("SEEN", "w").write(f"{{os.getpid()}} {{sys.argv[3]}}")
body = open("EVENT", "rb").read()
signature = sign(body, secret="{SECRET}", timestamp=int(time.time()))
urllib.request.urlopen(urllib.request.Request(sys.argv[3], body, {{"stripe-signature": signature}}))
while True:
    time.sleep(1)
"""
NOBODY = "#!/bin/sh\nexit 1\n"


@dataclass(frozen=True)
class WithPath(CommandLine):
    """A user with a PATH of their own."""

    path: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "PATH": self.path}


@dataclass(frozen=True)
class WithSources(CommandLine):
    """A user who works on a copy of the package."""

    sources: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "PYTHONPATH": self.sources}


@pytest.fixture
def with_stripe(alone: CommandLine, tmp_path: Path) -> Callable[[str], WithPath]:
    """The command line of somebody who has this script as `stripe`; without text nobody has."""

    def make(script: str) -> WithPath:
        folder = tmp_path / "bin"
        folder.mkdir()
        if script:
            (folder / "stripe").write_text(
                script.replace("SEEN", str(tmp_path / "seen")).replace("EVENT", str(tmp_path / "event.json"))
            )
            (folder / "stripe").chmod(0o755)
        return WithPath(alone.runtime, path=str(folder))

    return make


def awaited(found: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return answer


def test_what_stripes_command_line_forwards_arrives_signed(
    with_stripe: Callable[[str], WithPath], tmp_path: Path
) -> None:
    """With the secret that it signs with, at the webhook of the stack; and it ends with the stack."""
    nilometer = with_stripe(LISTENS)
    sample = Path("events/stripe/customer.subscription.created.json")
    (tmp_path / "event.json").write_text(sample.read_text())

    running = nilometer.local("--stripe")
    seen = awaited(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text())
    billing = awaited(lambda: nilometer("billing", "list", "--json").lines)
    triggered = nilometer("trigger", "customer.created")
    code, said = running.stop()

    pid, url = seen.split()
    assert url == running.about["webhook_url"]
    assert [one["workspace"] for one in billing] == ["ws_acme"]
    assert (triggered.code, code) == (0, 0)
    assert SECRET not in said
    assert Local.gone([int(pid)])


def test_a_killed_stack_ends_stripes_command_line(with_stripe: Callable[[str], WithPath], tmp_path: Path) -> None:
    """It would forward events into nothing."""
    nilometer = with_stripe(LISTENS)
    (tmp_path / "event.json").write_text("{}")
    running = nilometer.local("--stripe")
    seen = awaited(lambda: (tmp_path / "seen").exists() and (tmp_path / "seen").read_text())

    running.stop(signal.SIGKILL)

    assert Local.gone([int(seen.split()[0])])


@pytest.mark.parametrize(
    ("script", "said"),
    [("", "https://docs.stripe.com/stripe-cli/install"), (NOBODY, "run `stripe login`, then this again")],
    ids=["not installed", "not logged in"],
)
def test_without_stripes_command_line_it_says_what_to_do(
    with_stripe: Callable[[str], WithPath], script: str, said: str
) -> None:
    """Before anything is started: exit code 1, one sentence."""
    answer: Answer = with_stripe(script)("local", "--stripe", "--port", "0", "--aws-port", "0")

    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_changed_source_starts_the_functions_again(alone: CommandLine, tmp_path: Path) -> None:
    """A file of a copy of the package is touched: other workers, which answer."""
    copy = tmp_path / "src" / "nilometer"
    shutil.copytree(Path(nilometer_package.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("template.yaml", tmp_path)  # where a checkout has it
    user = WithSources(alone.runtime, sources=str(copy.parent))
    running = user.local("--reload")
    before = awaited(lambda: running.workers("webhook"))

    (copy / "lambdas" / "webhook.py").touch()
    after = awaited(lambda: set(running.workers("webhook")) - set(before))
    triggered = user("trigger", "customer.created")
    _, said = running.stop()

    assert after
    assert triggered.code == 0
    assert "lambdas/webhook.py changed: the functions start again" in said


def test_a_look_at_the_sources_names_what_changed(tmp_path: Path) -> None:
    """Written, added and removed files, once each; other files are none of the sources."""
    for name in ("kept.py", "written.py", "removed.py", "notes.txt"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1, 1))
    watch = SourcesWatch(tmp_path, seconds=0)
    assert watch.changed() == []

    for name in ("written.py", "added.py", "notes.txt"):
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "removed.py").unlink()

    assert [str(one) for one in watch.changed()] == ["added.py", "removed.py", "written.py"]
    assert watch.changed() == []

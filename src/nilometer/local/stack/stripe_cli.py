"""Stripe's command line beside a local stack: it hands the events of an account's sandbox on to the webhook.

Source: https://docs.stripe.com/cli/listen.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from nilometer.errors import Misconfigured

SECRET_SECONDS = 30
# -P: nothing in the current folder may stand in for a module.
_GUARD = (sys.executable, "-P", "-m", "nilometer.local.plane.guard")


@dataclass(frozen=True, slots=True)
class StripeListener:
    """A running `stripe listen`."""

    process: subprocess.Popen[bytes]

    @property
    def ended(self) -> bool:
        """Nothing of Stripe arrives any more."""
        return self.process.poll() is not None


def installed() -> str:
    """The path of Stripe's command line. `Misconfigured` where it is not on PATH."""
    if found := shutil.which("stripe"):
        return found
    raise Misconfigured(
        "Stripe's command line is not on PATH; install it (https://docs.stripe.com/stripe-cli/install) and run "
        "`stripe login`, or forward events by another way to the webhook with --stripe-secret whsec_..."
    )


def listening_secret() -> str:
    """The signing secret with which `stripe listen` signs what it forwards; the same one for months.

    `Misconfigured` when Stripe's command line does not say it: mostly nobody is logged in.
    """
    command = [installed(), "listen", "--print-secret"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECRET_SECONDS, check=False
        )
        secret = done.stdout.strip()
        if done.returncode == 0 and secret.startswith("whsec_") and secret.split() == [secret]:
            return secret
    raise Misconfigured(
        "`stripe listen --print-secret` gave no signing secret; run `stripe login`, then this again, or run that "
        "command to see why"
    )


@contextlib.contextmanager
def listening(webhook_url: str) -> Iterator[StripeListener]:
    """Runs `stripe listen` while this lasts, and not longer than this process. Its output names the secret: dropped."""
    process = subprocess.Popen(
        [*_GUARD, installed(), "listen", "--forward-to", webhook_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield StripeListener(process)
    finally:
        assert process.stdin  # noqa: S101  # opened above
        process.stdin.close()  # the guard ends what it runs
        process.wait()

"""What a newcomer waits for: `python benchmarks/first_steps.py` clones this checkout into a temporary folder.

Goals: 60 seconds from the clone to the first own event in the tables; then 5 each for a query of it in the lake, for a
usage event from code that is counted, and for a chart. Exit code 1 when one is missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
USAGE = """
import datetime, uuid, nilometer
stack = nilometer.connect()
nilometer.publish(stack.bus(), [nilometer.recorded(
    str(uuid.uuid4()), source="/first", workspace_id="acme", meter="api_calls", quantity="42", unit="call",
    time=datetime.datetime.now(datetime.UTC))])
"""


class Steps:
    """The commands of a newcomer in `folder`, and how long they took."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missed = False

    def run(self, *command: str) -> str:
        """What it printed; a command that fails ends the benchmark."""
        return subprocess.run(command, cwd=self._folder, check=True, capture_output=True, text=True).stdout

    def nilometer(self, *arguments: str) -> str:
        """As `run`, with the clone's own command."""
        return self.run(str(self._folder / ".venv/bin/nilometer"), *arguments)

    def until(self, seen: Callable[[], bool]) -> None:
        """Asks as a person does, again and again."""
        while not seen():
            time.sleep(0.1)

    def measure(self, name: str, goal: float, step: Callable[[], object]) -> None:
        """A line a step."""
        began = time.monotonic()
        step()
        took = time.monotonic() - began
        self._missed |= took > goal
        print(f"{name:<36}{took:6.1f} s   goal {goal:.0f} s{'   missed' if took > goal else ''}", flush=True)

    @property
    def exit_code(self) -> int:
        return int(self._missed)


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary, "nilometer")
        steps = Steps(clone)
        running: list[subprocess.Popen[str]] = []

        def first_event() -> None:
            clone.mkdir()
            steps.run("git", "clone", "--quiet", str(ROOT), ".")
            steps.run("make", "--silent", ".venv/.local")
            command = [str(clone / ".venv/bin/nilometer"), "local", "--port", "0", "--aws-port", "0", "--json"]
            local = subprocess.Popen(command, cwd=clone, stdout=subprocess.PIPE, text=True)
            running.append(local)
            assert local.stdout
            local.stdout.readline()
            steps.nilometer("workspace", "create", "acme")
            steps.nilometer("trigger", "customer.subscription.created", "--workspace", "acme")
            steps.until(lambda: "active" in steps.nilometer("billing", "list", "--json"))

        def used() -> bool:
            return any(
                one["used"] == "42" for one in json.loads(steps.nilometer("usage", "show", "acme", "--json"))["meters"]
            )

        def from_code() -> None:
            steps.run(str(clone / ".venv/bin/python"), "-c", USAGE)
            steps.until(used)

        def asked() -> None:
            steps.until(
                lambda: "customer.subscription.created" in steps.nilometer("query", "from stripe_events", "--json")
            )

        def drawn() -> bool:
            """False while the lake has no usage yet: it is counted a moment earlier."""
            command = [str(clone / ".venv/bin/nilometer"), "query", "--recipe", "usage-per-day", "--chart", "usage.svg"]
            return subprocess.run(command, cwd=clone, capture_output=True, check=False).returncode == 0

        try:
            steps.measure("clone, install, first event", 60, first_event)
            steps.measure("a query of it in the lake", 5, asked)
            steps.measure("a usage event from code, counted", 5, from_code)
            steps.measure("a chart", 5, lambda: steps.until(drawn))
        finally:
            for one in running:
                one.terminate()
                one.wait(60)
    return steps.exit_code


if __name__ == "__main__":
    sys.exit(main())

"""What an operator or analyst types.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 a check found a difference, 130 interrupted.
Data goes to stdout, commentary and progress to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nilometer.cli.terminal.interruption import INTERRUPTED


def main() -> None:
    """The entry point of `nilometer`: ends the process with the command's exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code. Imports click only here: without the extra `cli` the answer is what to install."""
    try:
        from nilometer.cli import program
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "nilometer").startswith("nilometer"):
            raise
        sys.stderr.write(
            f"Error: {error.name} is not installed. The commands need more than the library: "
            "pip install 'nilometer[cli]', or 'nilometer[local]' to run the stack on this machine too\n"
        )
        return 1
    return program.run(arguments)

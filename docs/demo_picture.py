"""The picture of `nilometer demo`: `python docs/demo_picture.py` runs it and writes `docs/pictures/demo.svg`.

What it printed, as a terminal of 118 columns shows it, without the rows of the Delta tables, which are wider. No font
comes from the network.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parent / "pictures" / "demo.svg"
WIDTH = 118
_FONT_FACE = re.compile(r"@font-face {{.*?}}\s*", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """The exit code of the demo, 3 when a check fails; then the picture stays as it was."""
    environment = {**os.environ, "COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "nilometer", "demo"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode == 0:
        PICTURE.write_text(picture(done.stdout))
    return done.returncode


def picture(printed: str) -> str:
    """SVG of what was printed, with its colours."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print("[bold green]$[/bold green] nilometer demo", highlight=False)
    console.print(Text.from_ansi(shown(printed)))
    return console.export_svg(title="nilometer demo", theme=MONOKAI, code_format=_FONT_FACE.sub("", CONSOLE_SVG_FORMAT))


def shown(printed: str) -> str:
    """Without the section of the lake."""
    lines = printed.rstrip().splitlines()
    places = {_COLOUR.sub("", line).split("  ")[0]: at for at, line in enumerate(lines)}
    return "\n".join([*lines[: places["Lake"]], *lines[places["A question"] :]])


if __name__ == "__main__":
    sys.exit(main())

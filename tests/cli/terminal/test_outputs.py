"""Golden files: what every command prints, at 80 and at 120 columns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path

import pytest
from tests.support.command_line import leaves
from tests.support.stack.known_results import DRAWN
from tests.support.stack.story import STORY, StoryTeller, story_teller

GOLDEN = Path(__file__).parent / "golden"

COUNTING = ("doctor", "ls", "tables", "trace", "verify")  # their numbers depend on how the batches fell
FOR_PROGRAMS = ("attachment url", "attachment upload-url", "completion", "env", "rejects show")  # must not be wrapped
CHANGING = (
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "2026-01-01 00:00:00"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+"), "2026-01-01 00:00:00.000"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "2026-01-01T00:00:00.000Z"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "2026-01-01 00:00 UTC"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3} UTC"), "00:00:00.000 UTC"),
    (re.compile(r"\+\d\.\d\d\d s\b"), "+0.000 s"),
    (
        re.compile(r"\b(evt|cus|sub|price|prod|si|we|nil_invite|nil_session|nil_once|nil_key)_[\w-]+"),
        lambda found: f"{found[1]}_{'0' * (len(found[0]) - len(found[1]) - 1)}",
    ),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/]{43}="), f"whsec_{'0' * 44}"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "2026-01-01"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "0" * 26),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "00000000-0000-0000-0000-000000000000"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "0" * 12),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0" * 64),
    (re.compile(r"\b[0-9a-f]{8}\b"), "0" * 8),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "00000"),
    (re.compile(r"(?<=Table-)[0-9A-F]{13}|(?<=bucket-)[0-9a-f]{13}"), "0" * 13),
    (re.compile(r"(?<=X-Amz-)(Credential|Date|Signature)=[^&'\s]+"), r"\1=0"),
)


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_command_prints_is_as_it_was_agreed(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A change shows in review; `UPDATE_GOLDEN=1 pytest tests/cli/terminal` writes the files again. No table is wider
    than the terminal, and none cuts what it shows.
    """
    golden = GOLDEN / f"output-{width}.txt"
    with story_teller(tmp_path, width) as teller:
        answers = dict(_all(teller))
    for line, draw in DRAWN.items():
        monkeypatch.setenv("COLUMNS", str(width))
        capfd.readouterr()
        draw(monkeypatch)
        answers[line] = tuple(capfd.readouterr())
    shown = "".join(f"$ nilometer {line}\n{steady(line, o + e, tmp_path)}\n" for line, (o, e) in answers.items())
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)

    assert shown == golden.read_text()
    rows = [(line, row) for line, (o, _) in answers.items() if not line.startswith(FOR_PROGRAMS) for row in _drawn(o)]
    assert [(line, row) for line, row in rows if len(row) > width or "…" in row] == []


@pytest.mark.parametrize("width", [80, 120])
def test_no_command_is_without_a_capture(width: int) -> None:
    """A new command needs a line in `STORY`, or a result of its own in `DRAWN`."""
    lines = re.findall(r"^\$ nilometer (.*)", (GOLDEN / f"output-{width}.txt").read_text(), re.MULTILINE)

    assert [
        words for words in map(" ".join, leaves()) if not any(f"{line} ".startswith(f"{words} ") for line in lines)
    ] == []


def _all(teller: StoryTeller) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Lines and what they print on stdout and stderr, in the order of the story."""
    yield "local", (teller.started, "")
    yield "listen", ("", _listened(teller))
    for line in ("console --listen 0 --until-stdin-closes", "mcp"):
        answer = replace(teller.line, in_process=False)(*line.split(), text="", env=teller.environment)
        yield line, (answer.out, answer.err)
    for told in STORY:
        answer = teller.answer(told)
        yield (told if isinstance(told, str) else told[0]), (answer.out, answer.err)


def _listened(teller: StoryTeller) -> str:
    """What `nilometer listen` prints of one event until Ctrl-C."""
    environment = {**teller.line.environment, **teller.environment}
    command, pipe = [sys.executable, "-m", "nilometer", "listen"], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout
        assert process.stderr
        said = process.stderr.readline()
        teller.answer("trigger product.created")
        told = process.stdout.readline(), process.stdout.readline()
        said += "".join(sorted(told, key=lambda line: "webhook" not in line))  # both say it at the same moment
        process.send_signal(signal.SIGINT)
        return said


def _drawn(text: str) -> Iterator[str]:
    """The lines of tables and of blocks of lines; what is one line is wrapped by the terminal itself."""
    return (row for row in text.splitlines() if row.startswith(" "))


def steady(line: str, text: str, folder: Path) -> str:
    """Without what differs from run to run."""
    text = text.replace(str(folder), "{folder}")
    for pattern, constant in CHANGING:
        text = pattern.sub(constant, text)
    if line.startswith(COUNTING):
        text = re.sub(r" +", " ", re.sub(r"─+", "─", re.sub(r"[\d,.]*\d", "0", text)))
    lines = [
        re.sub(r"in the lake (?:a row|\d+ rows) of", "in the lake, of", line).rstrip() for line in text.splitlines()
    ]
    return "\n".join(
        chain.from_iterable(sorted({*run}) if at_once else run for at_once, run in groupby(lines, _in_lake))
    )


def _in_lake(line: str) -> bool:
    """Tables of the lake commit at once: which of them is first changes, and in how many commits their rows come."""
    return "in the lake" in line

"""Golden files: what the commands that show something print on one small stack, at 80 and at 120 columns."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.command_line import Answer, CommandLine

GOLDEN = Path(__file__).parent / "golden"

MADE = (
    "workspace create acme --slug acme --admin ada",
    "workspace create globex",
    "member add acme bob --role Analyst",
    "invite create acme grace@example.com --role Viewer",
    "flag set new_invoices --description 'Invoices as PDF' --on",
    "flag override acme new_invoices off",
    "meter create tokens --aggregation sum --unit token",
    "limit override acme api_calls --included 5000 --hard 8000",
    "limit grant acme api_calls launch 1000 --until 2099-01-01",
    "notification send acme bob --topic exports.ready --title 'Your export is ready'",
    "onboarding advance acme bob first_invoice meter_created",
    "policy publish terms --url https://example.com/terms/1 --file README.md --yes",
    "trigger customer.subscription.created --workspace acme",
    "usage send --workspace acme --meter api_calls --quantity 42 --id call-1",
    "datasets declare orders --mode append --column id:string --column total:int64",
    "wait",
)
SHOWN = (
    "billing conflicts",
    "billing history acme",
    "billing list",
    "billing objects",
    "billing show acme",
    "datasets list",
    "datasets show orders",
    "dlq list",
    "flag explain acme new_invoices",
    "flag list",
    "flag overrides new_invoices",
    "history show workspace acme",
    "history show membership bob --diff",
    "invite list acme",
    "limit show acme",
    "member list acme",
    "member workspaces bob",
    "meter list",
    "notification list acme bob",
    "notification preferences acme bob",
    "onboarding show acme bob",
    "policy list",
    "query 'select workspace_id, meter, quantity from usage'",
    "recipes",
    "rejects list",
    "security log acme",
    "tables status",
    "trace call-1",
    "usage meters",
    "usage outbox",
    "usage rejects",
    "usage show acme",
    "verify",
    "workspace list",
    "workspace show acme",
)
COUNTING = ("tables", "trace", "verify")  # their numbers depend on how the batches fell
CHANGING = (
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "2026-01-01 00:00:00"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+"), "2026-01-01 00:00:00.000"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z\b"), "2026-01-01T00:00:00.000Z"),
    (re.compile(r"\+\d\.\d\d\d s\b"), "+0.000 s"),
    (
        re.compile(r"\b(evt|cus|sub|price|prod|si)_\w+"),
        lambda found: f"{found[1]}_{'0' * (len(found[0]) - len(found[1]) - 1)}",
    ),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "2026-01-01"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "0" * 26),
)


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, int], Answer]]:
    """A command on a small stack of its own, in which each record was made once."""
    command = CommandLine(tmp_path_factory.mktemp("outputs"))
    running = command.local()
    try:
        for line in MADE:
            made = command(*words(line))
            assert made.code == 0, f"{line}: {made.err}"
        yield lambda line, width: command(*words(line), env={"COLUMNS": str(width)})
    finally:
        running.stop()


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_command_prints_is_as_it_was_agreed(show: Callable[[str, int], Answer], width: int) -> None:
    """A change shows in review; `UPDATE_GOLDEN=1 pytest tests/cli/terminal` writes the files again."""
    golden = GOLDEN / f"output-{width}.txt"
    answers = {line: show(line, width) for line in SHOWN}
    shown = "".join(f"$ nilometer {line}\n{steady(line, found)}\n" for line, found in answers.items())
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)

    assert shown == golden.read_text()
    assert [line for line, found in answers.items() if any(len(row) > width for row in found.out.splitlines())] == []


def words(line: str) -> list[str]:
    """As a shell splits them."""
    return [quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", line)]


def steady(line: str, answer: Answer) -> str:
    """Without what differs from run to run."""
    text = answer.out + answer.err
    if line.startswith(COUNTING):
        return "\n".join(row.rstrip() for row in re.sub(r"(?<=bucket-)\w+|\d", "0", text).splitlines())
    for pattern, constant in CHANGING:
        text = pattern.sub(constant, text)
    return "\n".join(line.rstrip() for line in text.splitlines())

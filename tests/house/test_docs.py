"""The documents say what is so: links lead somewhere, commands exist, examples parse."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import click
import pytest
from botocore import xform_name
from cfnlint.decode import cfn_yaml
from tests.support.project import ROOT

from nilometer.cli.program import cli
from nilometer.cli.terminal.groups import DefaultGroup

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def texts() -> Iterator[tuple[Path, str]]:
    for path in DOCUMENTS:
        yield path, path.read_text()


def blocks(text: str) -> list[str]:
    """The fenced examples for a shell."""
    return re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spoken(text: str) -> list[str]:
    """Everything set as code: the lines of examples, and what stands between backticks."""
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line.strip().removeprefix("$ ") for block in blocks(text) for line in block.splitlines()] + inline


def test_every_link_leads_to_a_file() -> None:
    """Relative ones; other people's pages are their own affair."""
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, text in texts()
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
        if "://" not in target and not (path.parent / target).exists()
    ]

    assert broken == []


def test_every_decision_is_in_the_index() -> None:
    """Under the title that it has."""
    folder = ROOT / "docs/decisions"
    rows = re.findall(r"\[(\d{4})\]\(([^)]+)\) \| (.+?) \|", (folder / "README.md").read_text())
    files = {path.name: path.read_text().splitlines()[0] for path in folder.glob("[0-9]*.md")}

    assert {name: f"# {number} {title}" for number, name, title in rows} == files
    assert [number for number, _, _ in rows] == [f"{n:04}" for n in range(1, len(files) + 1)]


def test_every_make_target_in_the_documents_exists() -> None:
    """And has a line in `make help`."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match for _, text in texts() for code in spoken(text) for match in re.findall(r"^make ([a-z-]+)", code)}

    assert named
    assert named <= targets


def test_every_nilometer_command_in_the_documents_exists() -> None:
    """With the options that the document gives it."""
    unknown = [code for _, text in texts() for code in spoken(text) if not known(code)]

    assert unknown == []


def known(code: str) -> bool:
    """True for what is no command line of ours."""
    found = re.match(r"(?:\.venv/bin/)?nilometer ((?:[a-z-]+ ?)+)?", code)
    if not found or not found[1]:
        return True
    command: click.Command = cli
    for word in found[1].split():
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        named = command.get_command(click.Context(command), word)
        if named is None:
            return False
        command = named
    if isinstance(command, DefaultGroup):
        command = command.commands[command.default]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return set(re.findall(r"(?<!\S)--[a-z-]+", code)) <= options


def test_every_aws_command_in_the_documents_exists() -> None:
    """With the options that the document gives it, as the service's own model names them."""
    commands = {
        command.group(0)
        for _, text in texts()
        for block in (*blocks(text), *spoken(text))
        for command in re.finditer(r"\baws ([a-z0-9-]+) ([a-z0-9-]+)((?:[^\n$|]|\$[^(])*)", re.sub(r"\\\n", " ", block))
    }

    assert commands
    assert [command for command in sorted(commands) if not answered_by_aws(command)] == []


def answered_by_aws(command: str) -> bool:
    """True also for the command line's own `logs tail` and `s3`, which no model has."""
    _, service, operation, *_ = command.split()
    if (service, operation) == ("logs", "tail") or service == "s3":
        return True
    session = botocore.session.Session()
    if service not in session.get_available_services():
        return False
    model = session.get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in names:
        return False
    shape = model.operation_model(names[operation]).input_shape
    members = {xform_name(name, "-"): member.type_name for name, member in (shape.members if shape else {}).items()}
    known = {*members, *(f"no-{name}" for name in members if members[name] == "boolean"), "query", "output", "region"}
    return set(re.findall(r"(?<!\S)--([a-z-]+)", command)) <= known


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shell_example_parses(path: Path) -> None:
    """bash reads it, without running it."""
    for block in blocks(path.read_text()):
        lines = "\n".join(line.removeprefix("$ ") for line in block.splitlines())
        done = subprocess.run(["/bin/bash", "-n"], input=lines, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


TRIED = re.compile(
    r"<!-- (?:runs|athena|spark|trino|not run: \S.*|tried by (?P<places>tests/\S+(?: and tests/\S+)*)) -->"
)


def test_every_example_is_tried_or_says_why_not() -> None:
    """The line above a block of code: `runs` (tests/cli/test_documents.py), which test tries it, or why none does.

    A block for one engine (`athena`) is read by that engine's own parser.
    """
    untried = []
    for path, text in texts():
        for above, language in re.findall(r"^(.*)\n```(sh|python|sql|js|ts)\n(?:.*\n)*?```$", text, re.MULTILINE):
            found = TRIED.fullmatch(above)
            places = (found["places"] or "").split(" and ") if found else ["nowhere"]
            if not all((ROOT / place).exists() for place in places if place):
                untried.append(f"{path.relative_to(ROOT)}: {language} below {above!r}")

    assert untried == []


def test_every_output_that_the_guide_reads_exists() -> None:
    """The deployment guide asks the stack by name."""
    template = cfn_yaml.load(str(ROOT / "template.yaml"))
    guide = (ROOT / "docs/deploy.md").read_text()

    assert set(re.findall(r"output ([A-Z]\w+)", guide)) <= set(template["Outputs"])
    assert set(re.findall(r"--logical-resource-id (\w+)", guide)) <= set(template["Resources"])


def test_no_file_names_one_machine() -> None:
    """No path of the machine that it was written on, and no lock says where to download from."""
    listed = subprocess.run(
        ["/usr/bin/env", "git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    machine = re.compile(r"(?<![\w.-])/(?:work|root|home/\w+)/")
    lock = re.compile(r"requirements/.*\.txt$|package-lock\.json$")
    naming = [
        name
        for name in listed
        if name and Path(ROOT, name).is_file() and Path(ROOT, name) != Path(__file__)
        if machine.search(text := Path(ROOT, name).read_text(errors="replace")) or (lock.search(name) and "://" in text)
    ]

    assert naming == []

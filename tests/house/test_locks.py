"""The locks are complete, hashed, free of addresses, and in step with pyproject.toml; `make lock` writes them."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCKS = (
    "requirements/dev.txt",
    "requirements/local.txt",
    "requirements/engine.txt",
    "requirements/uv.txt",
    "requirements/sam.txt",
    "requirements/checkov.txt",
    "requirements/dbt.txt",
    "requirements/notebooks.txt",
    "requirements/readers.txt",
    "src/requirements/aws.txt",
    "src/requirements/lake.txt",
    "src/requirements/stripe.txt",
    "src/requirements/console.txt",
)
# The extras that a lock was made for.
EXTRAS = {
    "requirements/dev.txt": {"dev"},
    "requirements/local.txt": {"local", "build"},
    "requirements/engine.txt": {"proof"},
    "src/requirements/aws.txt": {"aws"},
    "src/requirements/lake.txt": {"aws", "lake"},
    "src/requirements/stripe.txt": {"aws", "stripe"},
    "src/requirements/console.txt": {"pages"},
}


def pins(path: Path) -> dict[str, Version]:
    """Name and version of every line whose marker holds here."""
    lines = re.sub(r"\\\n", " ", path.read_text()).splitlines()
    requirements = [
        Requirement(re.sub(r"\s--hash=\S+", "", line)) for line in lines if line and not line.startswith("#")
    ]
    return {
        canonicalize_name(r.name): Version(str(r.specifier).removeprefix("=="))
        for r in requirements
        if r.marker is None or r.marker.evaluate()
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_hashed(project: Path, lock: str) -> None:
    """pip refuses anything that does not match, whatever the index says."""
    entries = re.sub(r"\\\n\s*", " ", (project / lock).read_text()).splitlines()

    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+ +(; .+? +)?--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(project: Path, lock: str) -> None:
    """Which index serves the packages is the machine's own setting."""
    text = (project / lock).read_text()

    assert not re.search(r"://|--index-url|--extra-index-url|--find-links|--trusted-host| @ ", text)


@pytest.mark.parametrize("part", [lock for lock in EXTRAS if lock != "requirements/dev.txt"])
def test_every_lock_is_a_part_of_the_one_for_development(project: Path, part: str) -> None:
    """What the tests judge is what runs."""
    whole = pins(project / "requirements/dev.txt")

    assert pins(project / part).items() <= whole.items()


@pytest.mark.parametrize("lock", EXTRAS)
def test_a_lock_holds_what_its_extras_need_and_nothing_else(project: Path, lock: str) -> None:
    """Followed through the metadata of what is installed here."""
    needed = set(closure(direct(project, EXTRAS[lock])))

    assert set(pins(project / lock)) == needed


def test_what_is_installed_is_what_is_locked(project: Path) -> None:
    """The tests run on the pins; an old .venv is brought up by `make test`."""
    for name, version in pins(project / "requirements/dev.txt").items():
        assert Version(importlib.metadata.version(name)) == version, name


def test_every_pin_satisfies_the_project(project: Path) -> None:
    """A bound raised in pyproject.toml must be locked again."""
    pinned = pins(project / "requirements/dev.txt")

    for requirement in direct(project, {"dev"}):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_functions_have_wheels_for_both_processors(project: Path) -> None:
    """The hashes of one file a package would bind the build to one machine."""
    for lock in ("src/requirements/aws.txt", "src/requirements/lake.txt", "src/requirements/stripe.txt"):
        entries = re.sub(r"\\\n\s*", " ", (project / lock).read_text()).splitlines()
        [msgspec] = [entry for entry in entries if entry.startswith("msgspec==")]
        assert msgspec.count("--hash") > 10


def direct(project: Path, extras: set[str]) -> list[Requirement]:
    """The project's own requirements with these extras; extras that name extras are followed."""
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in table["dependencies"]]
    pending, seen = list(extras), set()
    while pending:
        extra = pending.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in map(Requirement, table["optional-dependencies"][extra]):
            if requirement.name == "nilometer":
                pending.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


def closure(requirements: list[Requirement]) -> Iterator[str]:
    """Every distribution that must be installed for these, by normalized name."""
    pending, seen = [(r.name, extra) for r in requirements for extra in ("", *r.extras)], set()
    while pending:
        name, extra = pending.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        yield canonicalize_name(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            environment = {**default_environment(), "extra": extra}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                pending += [(requirement.name, wanted) for wanted in ("", *requirement.extras)]

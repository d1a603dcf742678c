"""template.yaml and the sample events, parsed once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from tests.support.cloudformation import Template
from tests.support.project import EVENTS, ROOT, Build, made_once


@pytest.fixture(scope="session")
def template() -> Template:
    return Template(cfn_yaml.load(str(ROOT / "template.yaml")))


@pytest.fixture(scope="session")
def bootstrap() -> Template:
    """What a person deploys once, for the roles of releases."""
    return Template(cfn_yaml.load(str(ROOT / "bootstrap.yaml")))


@pytest.fixture(scope="session")
def samples() -> dict[str, Any]:
    """Every event below events/, by its path from there."""
    folder = EVENTS
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))}


@pytest.fixture(scope="session")
def project() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sam() -> Path:
    """The SAM CLI, which `make test` installs into a venv of its own."""
    path = Path(sys.prefix, "sam/bin/sam")
    if not path.exists():
        pytest.skip("the SAM CLI is not installed; `make test` does it")
    return path


@pytest.fixture(scope="session")
def build(project: Path, sam: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """What `make build` makes for a processor: a template, and a folder a function. Once for all workers."""

    @cache
    def built(architecture: str) -> Path:
        def make(into: Path) -> None:
            words = ["make", "build", f"ARCHITECTURE={architecture}", f"BUILD={into}", f"VENV={sam.parents[2]}"]
            done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        return made_once(tmp_path_factory, f"{architecture}/build", make)

    return built


@pytest.fixture(scope="session")
def runtime_python() -> Path:
    """A Python of the version that the functions run on."""
    named = (os.environ.get("RUNTIME_PYTHON"), shutil.which("python3.13"))
    for candidate in (*filter(None, named), *Path.home().glob(".pyenv/versions/3.13*/bin/python3.13")):
        asked = subprocess.run([str(candidate), "--version"], capture_output=True, text=True, check=False)
        if asked.stdout.startswith("Python 3.13."):
            return Path(candidate)
    pytest.skip("there is no Python 3.13 here, which the functions run on")

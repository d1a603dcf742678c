"""What is published: sdist and wheel as a stranger gets them, on each Python that this machine has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from tests.support.project import ROOT

import nilometer

PYTHONS = ("3.11", "3.12", "3.13")


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Without this checkout on the path."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "NILOMETER_"))
    }
    return subprocess.run([str(word) for word in words], cwd=cwd, env=own, capture_output=True, text=True, check=False)


def python_of(version: str) -> Path:
    named = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}*/bin/python{version}")]
    for candidate in filter(None, named):
        asked = subprocess.run([str(candidate), "--version"], capture_output=True, text=True, check=False)
        if asked.stdout.startswith(f"Python {version}."):
            return Path(candidate)
    pytest.skip(f"there is no Python {version} on this machine beside the project")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both; the wheel is made of the sdist's own content, as an index's users make it."""
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    inside = folder / sdist.name.removesuffix(".tar.gz")
    done = run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=inside)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(inside)
    return folder


def wheel(built: Path) -> Path:
    [found] = built.glob("*.whl")
    return found


def test_an_index_would_take_it(built: Path) -> None:
    """README and metadata, as `twine check --strict` sees them."""
    uvx = Path(sys.executable).with_name("uvx")
    done = run(uvx, "--quiet", "twine", "check", "--strict", *sorted(built.iterdir()), cwd=built)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_carries_what_runs_and_nothing_else(built: Path) -> None:
    """The template, the schemas and the mark of its types; no test, no benchmark."""
    names = set(zipfile.ZipFile(wheel(built)).namelist())

    assert {"nilometer/template.yaml", "nilometer/py.typed", "nilometer/local/demo/prices.toml"} <= names
    assert any(name.startswith("nilometer/schemas/") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"nilometer"}


@pytest.mark.parametrize("version", PYTHONS)
def test_it_installs_outside_the_repository(built: Path, tmp_path: Path, version: str) -> None:
    """Bare, the command says what to install; as `client` a service imports it; as `cli` the commands answer."""
    uv = Path(sys.executable).with_name("uv")
    done = run(uv, "venv", "--quiet", "--python", python_of(version), "venv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    python, command = tmp_path / "venv/bin/python", tmp_path / "venv/bin/nilometer"

    def install(extra: str) -> None:
        done = run(uv, "pip", "install", "--quiet", "--python", python, f"{wheel(built)}{extra}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    install("")
    bare = run(command, cwd=tmp_path)
    install("[client]")
    service = (
        "import nilometer; print(nilometer.connect.__name__, nilometer.recorded.__name__, nilometer.Rejected.__name__)"
    )
    imported = run(python, "-c", service, cwd=tmp_path)
    install("[cli]")
    answers = [run(command, *words, cwd=tmp_path) for words in (["--help"], ["recipes", "--json"], ["ls"])]

    assert (bare.returncode, "pip install 'nilometer[cli]'" in bare.stderr) == (1, True), bare.stderr
    assert imported.stdout.split() == ["connect", "recorded", "Rejected"], imported.stderr
    assert [answer.returncode for answer in answers] == [0, 0, 0], [answer.stderr for answer in answers]


def test_the_image_copies_what_is_there() -> None:
    """Each source of a COPY exists, and `.dockerignore` lets it into the build."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]

    assert copied
    assert [source for source in copied if not (ROOT / source).exists() or source not in allowed] == []


def test_a_release_is_the_version_that_it_says() -> None:
    """The workflow reads the version where the package has it."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    [check] = [step["run"] for step in workflow["jobs"]["package"]["steps"] if "__version__" in step.get("run", "")]
    [reading] = re.findall(r"\$\((sed .*)\)$", check, re.MULTILINE)
    done = subprocess.run(["/bin/bash", "-c", reading], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == nilometer.__version__
    assert workflow["jobs"]["publish"]["needs"] == workflow["jobs"]["node"]["needs"] == "package"
    assert workflow["jobs"]["package"]["needs"] == "test"


def test_the_node_client_is_published_under_the_same_version() -> None:
    """With its types; every file that it names is there."""
    package = json.loads((ROOT / "clients/node/package.json").read_text())

    assert package["version"] == nilometer.__version__
    assert {"index.js", "index.d.ts", "api.d.ts"} <= set(package["files"])
    assert [name for name in package["files"] if not (ROOT / "clients/node" / name).exists()] == []

"""`sam build` without Docker for both processors: what a function carries, how large it is, and that it imports."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.cloudformation import Template
from tests.support.project import HERE, Build

MEGABYTE = 1024 * 1024  # as Lambda counts
LIMIT = 250 * MEGABYTE  # Lambda, unzipped
WRITERS = {"LakeFunction", "DatasetsFunction", "MaintenanceFunction"}  # of the lake
# Stripe's SDK is 15 MB; the console has pyarrow, and DuckDB and deltalake packed (src/fit.py).
GOALS = {
    **dict.fromkeys(WRITERS, 160 * MEGABYTE),
    "ReconcileFunction": 45 * MEGABYTE,
    "ConsoleFunction": 225 * MEGABYTE,
}
GOAL = 25 * MEGABYTE
Artifacts = Mapping[str, Path]
Measured = Callable[[str, object], None]
MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
# Only `local`, the command line and analysts have these.
READS = {"ConsoleFunction": {"pyarrow", "duckdb"}}
NEVER = {"pyarrow", "duckdb", "click", "rich", "ministack", "samtranslator", "moto"}


@pytest.fixture(params=MACHINES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def artifacts(build: Build, architecture: str) -> Artifacts:
    return functions(build(architecture))


@pytest.fixture
def runnable(build: Build) -> Artifacts:
    return functions(build(HERE))


def functions(built: Path) -> Artifacts:
    """The folders of a build, by function."""
    return {path.name: path for path in built.iterdir() if path.is_dir()}


def size(artifact: Path) -> int:
    return sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file())


def test_every_function_fits(
    artifacts: Artifacts, template: Template, architecture: str, record_property: Measured
) -> None:
    """Below Lambda's limit, and below our own goals."""
    sizes = {name: size(path) for name, path in artifacts.items()}
    for name, total in sizes.items():
        record_property("measured", (name, f"{architecture} MB", f"{total / MEGABYTE:.1f}"))

    assert set(sizes) == set(template.functions)
    assert all(total < LIMIT for total in sizes.values())
    assert {name: total for name, total in sizes.items() if total > GOALS.get(name, GOAL)} == {}


def test_a_function_carries_its_own_rooms_only(artifacts: Artifacts) -> None:
    """No command line, no local engine, and deltalake where the lake is written alone."""
    for name, artifact in artifacts.items():
        assert not (artifact / "nilometer/cli").exists()
        assert not (artifact / "nilometer/local").exists()
        assert not (NEVER - READS.get(name, set())) & {path.name for path in artifact.iterdir()}
        assert (artifact / "deltalake").exists() is (name in WRITERS)


def test_compiled_code_is_for_the_right_processor(artifacts: Artifacts, architecture: str) -> None:
    """This machine's own wheels must not slip in."""
    machines = {"aarch64": 0xB7, "x86_64": 0x3E}  # e_machine of the ELF header
    libraries = [path for artifact in artifacts.values() for path in artifact.rglob("*.so*")]

    assert libraries
    assert {elf_machine(path) for path in libraries} == {machines[MACHINES[architecture]]}


def elf_machine(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(20)
    assert header.startswith(b"\x7fELF")
    return int.from_bytes(header[18:20], "little")


def test_bytecode_never_asks_for_the_date_of_its_source(artifacts: Artifacts, runtime_python: Path) -> None:
    """SAM's zips are dated 1980; PEP 552's unchecked hash has the flags 0b01."""
    for artifact in artifacts.values():
        bytecode = [*artifact.rglob("nilometer/**/*.cpython-313.pyc"), *artifact.rglob("botocore/*/*.cpython-313.pyc")]
        assert bytecode
        assert {path.read_bytes()[4:8] for path in bytecode} == {b"\x01\x00\x00\x00"}


def test_the_services_of_every_client_are_carried(artifacts: Artifacts, project: Path) -> None:
    """`src/Makefile` leaves out the models that no room asks for."""
    asked = subprocess.run(
        ["/usr/bin/env", "grep", "-rhoE", r'client\("[a-z0-9]+"\)', "aws", "flows", "lambdas", "lake"],
        cwd=project / "src/nilometer",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    services = {text.split('"')[1] for text in asked}

    for artifact in artifacts.values():
        assert services <= {path.name for path in (artifact / "botocore/data").iterdir()}


def test_every_handler_starts_as_in_lambda(
    runnable: Artifacts, template: Template, runtime_python: Path, record_property: Measured
) -> None:
    """A clean interpreter of the runtime's version, the artifact, the template's environment, and nothing else."""
    for name, function in template.functions.items():
        done = start(runtime_python, runnable[name], function)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        record_property("measured", (str(name), "import, CPU ms", done.stdout.strip()))


# Builds the clients too, because a service's model is read only then.
PROGRAM = """
import importlib, sys, time
sys.path.insert(0, sys.argv[1])
before = time.process_time()
module = importlib.import_module(sys.argv[2])
print(round(1000 * (time.process_time() - before)))
assert callable(module.handler)
for value in list(vars(module).values()):
    if hasattr(value, "cache_clear") and value.__module__ == module.__name__:
        value()
foreign = sorted(m.__file__ for m in sys.modules.values() if "site-packages" in (getattr(m, "__file__", "") or ""))
assert not foreign, foreign
"""


def start(python: Path, artifact: Path, function: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    read = {"LAKE_URI": "s3://bucket/lake", "BILLING_SCOPES": "self/live"}
    environment = {name: read.get(name, "https://queue.test/1") for name in function["Environment"]["Variables"]}
    environment |= {"DEAD_LETTERS": "https://queue.test/1 Usage,1"} if "DEAD_LETTERS" in environment else {}
    return subprocess.run(
        [str(python), "-I", "-S", "-c", PROGRAM, str(artifact), function["Handler"].rpartition(".")[0]],
        cwd=artifact,
        env={**environment, **lambda_environment()},
        capture_output=True,
        text=True,
        check=False,
    )


def lambda_environment() -> dict[str, str]:
    """What the service itself sets."""
    return {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_FUNCTION_NAME": "test",
        "LAMBDA_TASK_ROOT": "/var/task",
    }

"""`verify --steps` reads every row of the audit in a lake, and names the one that is no allowed step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.lake.build import usage
from tests.support.lake.told import ToldWorld, counter, record

from nilometer.aws.dynamodb import Store
from nilometer.aws.s3 import Objects
from nilometer.domain.lake.tables import USAGE
from nilometer.domain.recovery.verification import DifferenceKind
from nilometer.domain.store.times import rfc3339_of
from nilometer.flows.recovery.verify import VerifyReport


@pytest.fixture
def world(store: Store, objects: Objects, tmp_path: Path) -> ToldWorld:
    return ToldWorld(store, objects, tmp_path / "lake")


def steps(world: ToldWorld) -> VerifyReport:
    return world.check("steps")


def test_a_history_of_allowed_steps_has_no_finding(world: ToldWorld) -> None:
    """A record from its beginning to its removal, and a counter that a void takes back."""
    one, two = record("a"), record("a", version=2, plan="team")
    world.change(one)
    world.change(two, one)
    world.change(None, two)
    world.append(USAGE, usage("e1"), usage("v1", quantity="-1.5", voids_source="/services/inference", voids_id="e1"))
    world.change(counter("1.5"))
    world.change(counter("0", version=2, count=0, cause="v1"), counter("1.5"))

    report = steps(world)

    assert (report.ok, report.compared, report.differences) == (True, 5, [])


def test_a_row_that_breaks_a_rule_is_named(world: ToldWorld) -> None:
    """With its key, its rule, and what to do."""
    world.change(counter("3"))
    world.change(counter("1", version=2, cause="e9"), counter("3"))

    [found] = steps(world).differences

    assert (found.kind, found.key[2], found.fields) == (DifferenceKind.WRONG_STEP, "2", ("counter",))
    assert "total went down from 3 to 1" in found.lake
    assert "nilometer history show counter WORKSPACE#ws_1/" in found.lake


def test_a_row_that_is_missing_between_two_is_noticed(world: ToldWorld) -> None:
    """The second change begins with what no row says that it became."""
    world.change(record("a"))
    world.change(record("a", version=3), record("a", version=2))

    assert [one.fields for one in steps(world).differences] == [("chain",)]


def test_what_a_restore_copied_begins_anew(world: ToldWorld) -> None:
    """As it was, whatever its life in the other table had been since; what follows is judged again."""
    then = 1_795_420_000
    one, two = (record("a", version=version, updated_at=rfc3339_of(then)) for version in (1, 2))
    world.change(one, at=then)
    world.change(two, one, at=then)
    world.change(one, at=then + 3_600)
    assert steps(world).ok
    world.change(record("a", version=3), one, at=then + 3_600)
    assert [found.fields for found in steps(world).differences] == [("version",)]


def test_images_that_rest_beside_the_row_are_read(world: ToldWorld, objects: Objects) -> None:
    """A change too large for a row is judged like any other."""
    one, two = record("a"), record("a", version=9)
    images: dict[str, Any] = {"old_image": one, "new_image": two}
    reference = objects.put("payloads", json.dumps(images).encode())
    world.change(one)
    world.change(two, one, old_image=None, new_image=None, images_ref=reference)

    assert [found.fields for found in steps(world).differences] == [("version",)]


def test_it_is_not_part_of_what_runs_each_time(world: ToldWorld) -> None:
    """It reads all images, so it is asked for by name."""
    assert "steps" not in {report.check for report in world.verification.run()}

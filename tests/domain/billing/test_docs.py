"""docs/billing.md and the code say the same."""

from __future__ import annotations

import re

from tests.support.project import ROOT

from nilometer.domain.billing.record.fold import fold, record_item
from nilometer.domain.billing.record.inputs import Inputs
from nilometer.domain.store.writes import Key

SOMETIMES = {
    *("unreadable_limits", "in_doubt", "incomplete", "unreadable"),
    *("conflicts", "refused_claims", "payers", "add_ons"),
}
"""Present only when there is something to say."""
DOCS = ROOT / "docs" / "billing.md"


def test_every_field_of_the_record_is_described() -> None:
    """And no field is described that the record has not."""
    item = record_item(Key("p", "s"), Inputs(), workspace_id="ws", version=1, cause="evt", updated_at="now")
    record = {**fold(Inputs()), **item}  # an item leaves nulls out
    section = DOCS.read_text().split("## The billing record")[1].split("\n## ")[0]
    named = {
        field for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for field in re.findall(r"`(\w+)`", row)
    }

    assert named - SOMETIMES == record.keys() - {
        "pk",
        "sk",
        "gsi2pk",
        "kind",
    }

"""Every sample event of Stripe is current and is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.flows.billing_play import play
from tests.support.project import EVENTS

from nilometer.aws.dynamodb import Store
from nilometer.domain.events.outcome import Outcome
from nilometer.flows.billing.reading import list_billing
from nilometer.local.stripe.samples import SAMPLED, sample

FOLDER = EVENTS / "stripe"
FILES = sorted(FOLDER.glob("*.json"))


def test_the_samples_are_current() -> None:
    """`python -m nilometer.local.stripe.samples events/stripe` writes them again."""
    assert {file.stem: json.loads(file.read_text()) for file in FILES} == {t: sample(t, "ws_acme") for t in SAMPLED}


def test_all_samples_together_are_one_workspace(store: Store) -> None:
    """Triggering every type for one workspace builds up one customer, each event taken."""
    results = play(store, [json.loads(file.read_text()) for file in FILES])

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert [(r["workspace"], len(r["customers"])) for r in list_billing(store)] == [("ws_acme", 1)]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_sample_alone_is_taken(store: Store, file: Path) -> None:
    """Whatever comes first."""
    assert [result.outcome for result in play(store, [json.loads(file.read_text())])] == [Outcome.ACCEPTED]

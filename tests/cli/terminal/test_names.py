"""A name that is not there is wrong usage, and the answer says what there is."""

from __future__ import annotations

from typing import Any

import pytest

from nilometer.cli.terminal.near import near_names


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("trigger customer.subscription.create", "near ones: customer.subscription.created"),
        ("trigger foo.bar", "`nilometer trigger --list` names all"),
        ("metric mrr", "near ones: mrr_movements, mrr_daily; `nilometer metric` lists them"),
        ("metric camels", "there is no metric camels; `nilometer metric` lists them"),
        ("query --recipe usage", "near ones: usage-per-day"),
        ("tables optimize --table usages", "there is no table usages; one of stripe_events, usage"),
        ("dlq list --queue Billing", "there is no queue Billing; one of BillingDeadLetters"),
        ("verify counter", "'counter' is not one of 'records', 'counters'"),
        ("rejects list --flow bill", "'bill' is not one of 'billing'"),
        ("history show bilings acme", "no record is of the kind 'bilings'; the audit has"),
        ("worksapce list", "Did you mean"),
    ],
)
def test_an_unknown_name_is_wrong_usage(nilometer: Any, stack: Any, line: str, says: str) -> None:
    """Exit code 2, nothing on stdout, and what there is or what is near on stderr."""
    if line.startswith("history"):
        assert nilometer("workspace", "create", "acme-names").code == 0
        assert nilometer("wait").code == 0
    answer = nilometer(*line.split())

    assert (answer.code, answer.out) == (2, "")
    assert says in " ".join(answer.err.split())


def test_what_is_near_contains_it_or_is_spelled_alike() -> None:
    """At most five names; nothing when nothing is near."""
    names = ("usage-per-day", "usage-per-period", "late-usage", "voided-usage", "usage-by-dimension", "usage-against")

    assert near_names("usage", names).count(",") == 4
    assert near_names("usage-per-dya", names).startswith("; near ones: usage-per-day")
    assert near_names("camel", names) == near_names("", names) == ""

"""Of what a person wants to be notified: the most specific statement decides, in any order of events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.acts import act
from tests.support.stores.writes import Memory

from nilometer import SetPreference
from nilometer.domain.acts.act import Act
from nilometer.domain.notices import preference
from nilometer.domain.notices.preference import ALL, Channel
from nilometer.domain.store.writes import Item, Put
from nilometer.errors import Rejected

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOPIC = "billing.payment_failed"
OPINIONS = st.sampled_from([None, True, False])


def at(second: int) -> Act:
    time = NOW + timedelta(seconds=second)
    return act(at=time, stamp=f"{time.isoformat()} s {second}")


def said(channels: Any, *, topic: str = TOPIC, workspace: str | None = None, second: int = 0) -> Any:
    deed = SetPreference(user_id="u", topic=topic, channels=channels, everywhere=workspace is None)
    [put] = deed.decide(at(second), {})
    assert isinstance(put, Put)
    return put.item


@given(st.lists(OPINIONS, min_size=4, max_size=4))
def test_the_most_specific_statement_decides(opinions: list[bool | None]) -> None:
    """This workspace before everywhere, and in each the topic before all topics; then the topic's default."""
    reaches = [("ws", TOPIC), ("ws", ALL), (None, TOPIC), (None, ALL)]
    items = [
        said({"email": opinion}, topic=topic, workspace=workspace)
        for (workspace, topic), opinion in zip(reaches, opinions, strict=True)
    ]
    resolved = {one.channel: one for one in preference.resolve(TOPIC, items)}

    expected = next((opinion for opinion in opinions if opinion is not None), True)
    assert resolved[Channel.EMAIL].on is expected
    assert (resolved[Channel.EMAIL].because == "default") is all(opinion is None for opinion in opinions)
    assert resolved[Channel.IN_APP].on


def test_the_keys_are_in_the_order_of_strength() -> None:
    """What is read is what may decide."""
    sorts = [key.sk for key in preference.candidates("u", TOPIC, "ws")]

    assert sorts == [
        f"PREFERENCE#ws#{TOPIC}",
        "PREFERENCE#ws#*",
        f"PREFERENCE##{TOPIC}",
        "PREFERENCE##*",
    ]
    assert len(preference.candidates("u", TOPIC, None)) == 2


def test_topics_of_other_services_are_in_the_app_only() -> None:
    """Nobody gets e-mail that he did not ask for."""
    assert preference.channels_on("exports.ready", []) == {Channel.IN_APP}
    assert preference.channels_on(TOPIC, []) == {Channel.IN_APP, Channel.EMAIL}


@given(st.permutations(range(4)), st.lists(st.dictionaries(st.sampled_from(Channel), OPINIONS, min_size=1), min_size=4))
def test_any_order_of_statements_ends_in_the_same_preference(
    order: list[int], statements: list[dict[Channel, bool | None]]
) -> None:
    """Each channel is as its latest statement says."""

    def after(numbers: Any) -> Item:
        found = Memory()
        for number in numbers:
            found.does(at(number), SetPreference(user_id="u", topic=TOPIC, channels=statements[number]))
        [item] = found.values()
        return {name: item[name] for name in ("channels_on", "channels_off", "field_times")}

    assert after(order) == after(range(4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": "No Topic", "channels": {"email": True}},
        {"topic": "x" * 65, "channels": {"email": True}},
        {"topic": TOPIC, "channels": {"pigeon": True}},
        {"topic": TOPIC, "channels": {}},
        {"topic": TOPIC, "channels": {"email": True}, "user_id": "somebody@example.com"},
    ],
)
def test_what_cannot_be_a_preference_is_rejected(wrong: dict[str, Any]) -> None:
    """With a reason."""
    with pytest.raises(Rejected):
        Memory().does(at(0), SetPreference(**{"user_id": "u", **wrong}))

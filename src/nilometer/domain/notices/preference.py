"""Which notifications a person wants, and through which channel.

A preference applies to one topic or to all (`*`), in one workspace or everywhere. The first that sets a channel decides
it:

    1. this workspace, this topic      "no threshold notices of Acme by e-mail"
    2. this workspace, all topics      "mute Acme"
    3. everywhere, this topic          "no notice of thresholds"
    4. everywhere, all topics          "no e-mail at all"
    5. the default of the topic
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Actor, Bounds, Deed, Id, Reach, Stored, made, unsent
from nilometer.domain.acts.records import field_times, newer, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store import keys
from nilometer.domain.store.writes import Item, Key, Write
from nilometer.errors import Rejected

ALL = "*"
TOPIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
TOPIC_LENGTH = 64


class Channel(StrEnum):
    """A way to reach a person. The values are stored in preferences and in `channels` of notifications."""

    IN_APP = "in_app"  # the notification center
    EMAIL = "email"  # `flows.notices.mailing`, or whoever else reads `channels` in the change of the notification


Topic = Annotated[str, Bounds(pattern=f"^{TOPIC.pattern}$", most=TOPIC_LENGTH, says="exports.ready")]
AnyTopic = Annotated[str, Bounds(pattern=rf"^(\*|{TOPIC.pattern})$", most=TOPIC_LENGTH)]
Channels = Annotated[Mapping[Channel, bool | None], Bounds(least=1)]

EVERY = frozenset(Channel)
DEFAULTS: Mapping[str, frozenset[Channel]] = {
    "usage.threshold_reached": EVERY,
    "billing.payment_failed": EVERY,
    "billing.conflict": EVERY,
    "member.role_changed": EVERY,
    "member.invited": EVERY,
    "member.invitation_accepted": frozenset({Channel.IN_APP}),
}
"""Notices of the system itself. Topics of other services are free, and in the app only."""
TO_MEMBERS = frozenset(DEFAULTS) - {"member.invited"}
"""Of these who is no member of the workspace is told nothing: all but who is invited, for he is none yet."""


@dataclass(frozen=True, kw_only=True)
class SetPreference(Deed[None]):
    """A person is notified of a topic, or of all (`*`), on these channels; without a subject, in every workspace.

    `None` takes back what was said of a channel; channels that are not named stay. The later event wins in any order,
    channel by channel.
    """

    reach = Reach.PERSON
    permission = Permission.NOTIFICATION_VIEW
    actor = Actor.PERSON

    user_id: Id = made()
    topic: AnyTopic
    channels: Channels
    everywhere: bool = unsent(False)

    def __post_init__(self) -> None:
        if self.topic != ALL:
            check_topic(self.topic)
        if unknown := sorted(set(self.channels) - set(Channel)):
            raise Rejected("invalid_schema", f"channel {unknown[0]!r} is none of {', '.join(Channel)}")
        if not self.channels:
            raise Rejected("invalid_schema", f"a preference says something of a channel: {', '.join(Channel)}")

    def reads(self, act: Act) -> list[Key]:
        return [keys.preference(checked_id(self.user_id), self._workspace(act), self.topic)]

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        [key] = self.reads(act)
        known = stored.get(key)
        later = newer(act, known, {str(channel): on for channel, on in self.channels.items()})
        if not later:
            return []
        merged = {**_said(known), **later}
        attributes = {
            "user_id": self.user_id,
            "workspace_id": self._workspace(act),
            "topic": self.topic,
            "channels_on": sorted(channel for channel, on in merged.items() if on),
            "channels_off": sorted(channel for channel, on in merged.items() if on is False),
            "field_times": field_times(act, known, later),
        }
        return [put(act, key, "preference", known, attributes)]

    def _workspace(self, act: Act) -> str | None:
        return None if self.everywhere else act.workspace_id or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Whether a channel is on, and which statement made it so: `default` or a topic and its reach."""

    channel: Channel
    on: bool
    because: str


def check_topic(topic: str) -> None:
    """`Rejected` (`invalid_schema`) unless it is dotted lower-case text of at most 64 characters. `*` is not one."""
    if len(topic) > TOPIC_LENGTH or not TOPIC.fullmatch(topic):
        raise Rejected(
            "invalid_schema", f"{topic[:80]!r} is not a topic; write billing.payment_failed, at most {TOPIC_LENGTH}"
        )


def candidates(user_id: str, topic: str, workspace_id: str | None) -> tuple[Key, ...]:
    """Keys of what may decide, the strongest first: four, or two outside of any workspace."""
    reaches = (workspace_id, None) if workspace_id else (None,)
    return tuple(keys.preference(user_id, reach, one) for reach in reaches for one in (topic, ALL))


def resolve(topic: str, said: Sequence[Item | None]) -> tuple[Resolved, ...]:
    """Each channel's answer. `said` are the items of `candidates`, in their order."""
    return tuple(_resolve(channel, topic, said) for channel in Channel)


def channels_on(topic: str, said: Sequence[Item | None]) -> frozenset[Channel]:
    """The channels on which the topic reaches the person; `said` are the items of `candidates`, in their order."""
    return frozenset(one.channel for one in resolve(topic, said) if one.on)


def _resolve(channel: Channel, topic: str, said: Sequence[Item | None]) -> Resolved:
    for item in said:
        if item and channel in (stated := _said(item)):
            reach = f"in {item['workspace_id']}" if item["workspace_id"] else "everywhere"
            return Resolved(channel=channel, on=stated[channel], because=f"{item['topic']} {reach}")
    on = channel in DEFAULTS.get(topic, {Channel.IN_APP})
    return Resolved(channel=channel, on=on, because="default")


def _said(item: Item | None) -> dict[str, bool]:
    """Stored as lists: as a name, `email` would be redacted as an address in the lake."""
    on, off = (item or {}).get("channels_on", ()), (item or {}).get("channels_off", ())
    return {**dict.fromkeys(on, True), **dict.fromkeys(off, False)}

"""Notifications of a person: each once, read or unread, and the count of unread ones.

    requested ──▶ unread ──▶ read ──▶ archived ──▶ expired
                     ├─────────────────▶         (TTL)
                     └───────────────────────────▶

The unread are counted per workspace and day of expiry, in the same transaction as each notification: the count
is exact without a scan, and a day's count expires together with the notifications that it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import Bounds, Decided, Deed, Id, Reach, Stored, unsent
from nilometer.domain.acts.records import alive, put
from nilometer.domain.acts.roles import Permission
from nilometer.domain.acts.text import check_text
from nilometer.domain.notices.preference import Channel, Topic, candidates, channels_on, check_topic
from nilometer.domain.store import keys
from nilometer.domain.store.times import epoch, from_epoch, rfc3339
from nilometer.domain.store.ulid import derived
from nilometer.domain.store.writes import Item, Key, Table, Update, Write
from nilometer.errors import Rejected

KEPT = timedelta(days=90)
EARLY = timedelta(hours=1)  # how far clocks may differ
TITLE_LENGTH = 200
TEXT_LENGTH = 4_000
LINK_LENGTH = 2_000

Title = Annotated[str, Bounds(least=1, most=TITLE_LENGTH)]
Text = Annotated[str, Bounds(most=TEXT_LENGTH, says="Plain text")]
Link = Annotated[str, Bounds(most=LINK_LENGTH, says="A path of the console, or an https:// address")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification for one person. `cause` identifies what happened: the same cause notifies once."""

    user_id: str
    topic: str
    title: str
    cause: str
    at: datetime
    text: str = ""
    link: str | None = None
    workspace_id: str | None = None

    @property
    def id(self) -> str:
        """A ULID derived from time, person, topic and cause: the same notice again has the same id."""
        return derived(self.at, self.user_id, self.topic, self.cause)

    @property
    def key(self) -> Key:
        """Its item in the records table."""
        return keys.notification(self.user_id, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """How many are unread: of everything, and by workspace (`None` for what belongs to no workspace)."""

    total: int
    by_workspace: Mapping[str | None, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """The notification's id, and whether the person is notified now."""

    id: str
    told: bool


@dataclass(frozen=True, kw_only=True)
class Notify(Deed[Notified]):
    """A person is notified once, as he prefers; the subject is the workspace that it is about.

    Nothing is sent a second time, or when all channels are off. In the library `once` names what happened: the same
    name notifies only once.
    """

    reach = Reach.PERSON
    permission = Permission.NOTIFICATION_SEND

    user_id: Id
    topic: Topic
    title: Title
    text: Text = ""
    link: Link | None = None
    once: str = unsent("")

    def __post_init__(self) -> None:
        checked_id(self.user_id)
        check_topic(self.topic)
        check_text("a title", self.title, TITLE_LENGTH)
        check_text("a text", self.text, TEXT_LENGTH, at_least=0, lines=True)
        _check_link(self.link)

    def notice(self, act: Act) -> Notice:
        """The notice, with an identity that is the same for the same cause."""
        cause = f"{act.caller.user_id}\n{act.cause}" if act.is_event else self.once or act.chance.hex()
        return Notice(
            user_id=self.user_id,
            topic=self.topic,
            title=self.title,
            cause=cause,
            at=act.happened,
            text=self.text,
            link=self.link,
            workspace_id=act.workspace_id or None,
        )

    def reads(self, act: Act) -> tuple[Key, ...]:
        return request_reads(self.notice(act))

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        return request(stored, self.notice(act), act=act)

    def answer(self, act: Act, decided: Decided) -> Notified:
        return Notified(id=self.notice(act).id, told=bool(decided.writes))


def request_reads(notice: Notice) -> tuple[Key, ...]:
    """The notification, and the preferences that may concern it, the strongest first."""
    return (notice.key, *candidates(notice.user_id, notice.topic, notice.workspace_id))


def request(stored: Mapping[Key, Item], notice: Notice, *, act: Act) -> list[Write]:
    """The notification and its count; nothing when it was sent before, no channel is on, or it expired before it
    arrived.

    `stored` holds what exists of `request_reads`.
    """
    if notice.at > act.now + EARLY:
        raise Rejected("invalid_time", f"{rfc3339(notice.at)} is in the future; a notice says what has happened")
    told, *said = (stored.get(key) for key in request_reads(notice))
    channels = channels_on(notice.topic, said)
    expires = expiry(notice.at)
    if told or not channels or expires <= act.now:
        return []
    unread = Channel.IN_APP in channels
    attributes = {
        "notification_id": notice.id,
        "user_id": notice.user_id,
        "workspace_id": notice.workspace_id,
        "topic": notice.topic,
        "title": notice.title,
        "text": notice.text,
        "link": notice.link,
        "channels": sorted(map(str, channels)),
        "unread": unread,
        "read_at": None,
        "archived_at": None,
        "created_at": rfc3339(notice.at),
        "expires_at": epoch(expires),
    }
    written = put(act, notice.key, "notification", None, attributes)
    return [written, *counted([attributes], 1 if unread else 0, act=act)]


def counted(items: Iterable[Item], by: int, *, act: Act) -> list[Write]:
    """`by` for each of `items`, one write a counter: no two actions of a transaction may touch one item."""
    sums: dict[Key, int] = {}
    about: dict[Key, Item] = {}
    for item in items:
        key = _unread_key(item)
        sums[key] = sums.get(key, 0) + by
        about[key] = item
    return [_count(act, key, about[key], amount) for key, amount in sums.items() if amount]


def _unread_key(item: Item) -> Key:
    day = rfc3339(_expiry_of(item))[:10]
    return keys.unread(item["user_id"], item["workspace_id"], day)


def unread_total(counters: Iterable[Item], now: datetime) -> Unread:
    """The sum of the days that have not expired."""
    by_workspace: dict[str | None, int] = {}
    for item in counters:
        if alive(item, now) and item["unread"]:
            workspace_id = item["workspace_id"]
            by_workspace[workspace_id] = by_workspace.get(workspace_id, 0) + int(item["unread"])
    return Unread(total=sum(by_workspace.values()), by_workspace=by_workspace)


def is_shown(item: Item, *, workspace_id: str | None, now: datetime) -> bool:
    """In the center of a workspace stand its own notifications and those of none; expired ones nowhere."""
    here = item["workspace_id"] in {None, workspace_id}
    return here and str(Channel.IN_APP) in item["channels"] and alive(item, now) is not None


def expiry(created: datetime) -> datetime:
    """The end of the UTC day, so that all of one day expire at one instant."""
    day = created.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + KEPT + timedelta(days=1)


def _expiry_of(item: Item) -> datetime:
    return from_epoch(int(item["expires_at"]))


def _count(act: Act, key: Key, item: Item, by: int) -> Update:
    return Update(
        table=Table.RECORDS,
        key=key,
        add={"unread": by, "version": 1},
        set={
            "kind": "unread",
            "user_id": item["user_id"],
            "workspace_id": item["workspace_id"],
            "expires_at": item["expires_at"],
            "updated_at": rfc3339(act.now),
            "cause": act.cause,
            "actor": act.caller.user_id,
        },
    )


def _check_link(link: str | None) -> None:
    """A path of the console or a page behind TLS: `javascript:` must not reach a person's screen."""
    if link is None:
        return
    check_text("a link", link, LINK_LENGTH)
    if not link.startswith("https://") and (not link.startswith("/") or link.startswith(("//", "/\\"))):
        raise Rejected("invalid_schema", "a link is a path that begins with / or an https:// address")

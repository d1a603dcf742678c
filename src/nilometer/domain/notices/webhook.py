"""Webhook endpoints of a workspace: where its announcements are posted to, and which of them.

    created ──▶ fails for five days, or answers 410 ──▶ off ──▶ switched on again
       └─ its secret is rotated: the old one signs beside the new one until its overlap ends

All of a workspace stand in one record, so that an announcement costs one read. A secret is derived
(`webhook_signature`) and never stored: the record has the name of each secret that is valid.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from nilometer.domain.acts.act import Act, checked_id
from nilometer.domain.acts.deed import UNSAID, Actor, Bounds, Decided, Deed, Id, Stored, Unsaid, made, said, unsent
from nilometer.domain.acts.records import field_times, newer, record
from nilometer.domain.acts.roles import Permission
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Key, Put, Write
from nilometer.errors import NotKnownYet, Refused, Rejected

KIND = "webhooks"
MOST = 10  # endpoints of a workspace: each is posted to for every event
_CHANCE = 16  # characters of a ULID
SECRETS = 5  # of one endpoint, valid at the same time
OVERLAP_HOURS, LONGEST_OVERLAP = 24, 168
PATIENCE = timedelta(days=5)
"""For so long an endpoint may fail before it is switched off."""
PAUSE = timedelta(days=1)
"""Longer than between two tries of an event (`domain.recovery.redrive`). Nobody knows how it was in a longer pause, so
after it (or an hour more) an endpoint begins to fail anew."""
_NOTED = timedelta(hours=1)  # how exactly the last failure is stored: one write an hour while it fails
FAILING, GONE = "failing", "gone"
WEBHOOK_DISABLED = "webhook.disabled.v1"

WebhookType = Literal[
    "billing.access_changed.v1",
    "billing.cancellation_changed.v1",
    "billing.change_scheduled.v1",
    "billing.features_changed.v1",
    "billing.invoice_changed.v1",
    "billing.limits_changed.v1",
    "billing.payment_failed.v1",
    "billing.payment_method_changed.v1",
    "billing.payment_recovered.v1",
    "billing.period_changed.v1",
    "billing.plan_changed.v1",
    "billing.seats_changed.v1",
    "billing.subscription_changed.v1",
    "billing.trial_changed.v1",
    "limit.blocked.v1",
    "usage.threshold_reached.v1",
]
WEBHOOK_TYPES: tuple[str, ...] = get_args(WebhookType)
"""What a workspace may know. `billing.risk_changed.v1` and `billing.conflicts_changed.v1` are the operator's alone."""

WebhookUrl = Annotated[str, Bounds(pattern="^https?://[!-~]+$", most=500, says="an https URL with a host name")]
OverlapHours = Annotated[int, Bounds(least=0, most=LONGEST_OVERLAP, says="Hours for which the old secret also signs")]

_NAME = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_INSIDE = (".local", ".localhost", ".internal", ".intranet", ".lan", ".home.arpa", ".corp", ".home")
_URL = re.compile(r"[!-~]{1,500}\Z")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint. `types` empty is all. `off` says why nothing is sent: `asked`, `failing` or `gone`; null: it is on.

    `secret_id` names the secret that signs, and opens nothing; `rotating_until` is when the one before ends.
    """

    id: str
    workspace_id: str
    url: str
    types: tuple[str, ...]
    off: str | None
    failing_since: str | None
    created_at: str
    secret_id: str
    rotating_until: str | None

    def wants(self, event_type: str) -> bool:
        """Whether an event of this type is posted to it."""
        return self.off is None and event_type in (self.types or WEBHOOK_TYPES)


def webhooks_of(item: Item | None) -> list[Webhook]:
    """From the record of a workspace, by id."""
    found = (item or {}).get("webhooks", {})
    return [_webhook(str(item["workspace_id"]), name, found[name]) for name in sorted(found)] if item else []


def secret_ids(item: Item, webhook_id: str, now: datetime) -> list[str]:
    """Those that sign now, the newest first."""
    secrets = item["webhooks"][webhook_id]["secrets"]
    return [one["id"] for one in secrets if one["ends_at"] is None or rfc3339(now) < one["ends_at"]]


def check_webhook_url(url: str, *, loopback: bool = False) -> None:
    """`Rejected` unless it is https with a public name, on port 443 or one above 1023, without a user.

    `loopback` allows `http://127.0.0.1:PORT` too. What the name resolves to is checked at each delivery.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError as error:
        raise Rejected("invalid_schema", "the URL of a webhook cannot be read") from error
    if not _URL.match(url) or parts.username is not None or parts.password is not None or parts.fragment:
        raise Rejected("invalid_schema", "the URL of a webhook has up to 500 plain characters, no user and no fragment")
    if loopback and parts.scheme == "http" and host == "127.0.0.1" and port:
        return
    if parts.scheme != "https" or not (port in {None, 443} or (port or 0) > 1023):
        raise Rejected("invalid_schema", "the URL of a webhook begins with https:// and has port 443 or one above 1023")
    if _is_address(host) or not _NAME.match(host) or host.endswith(_INSIDE):
        raise Rejected("invalid_schema", "the URL of a webhook names a public host: https://hooks.example.com/x")


@dataclass(frozen=True, kw_only=True)
class WebhookDeed(Deed[_T]):
    """A deed that concerns one webhook endpoint of the workspace."""

    permission = Permission.WEBHOOK_MANAGE
    actor = Actor.NAMED

    def reads(self, act: Act) -> list[Key]:
        return [keys.webhooks(act.workspace_id)]

    def known(self, act: Act, stored: Stored, webhook_id: str) -> tuple[Item, Mapping[str, Any]]:
        """The record and the endpoint in it. An event waits for one that may arrive later."""
        item = stored.get(keys.webhooks(act.workspace_id), {})
        found = item.get("webhooks", {}).get(webhook_id)
        if found is None and act.is_event:
            raise NotKnownYet("unknown_webhook", f"webhook {webhook_id} is not known yet; it may not have arrived")
        if found is None:
            raise Refused(f"there is no webhook {webhook_id} here")
        return item, found


class Signing(WebhookDeed[Webhook]):
    """A deed that makes a secret which we must know, to sign with it: it is derived, and shown with the answer."""


@dataclass(frozen=True, kw_only=True)
class CreateWebhook(Signing):
    """Announcements of the workspace are posted to a URL from now on, signed; `types` empty is all of them."""

    webhook_id: Id = made()
    url: WebhookUrl
    types: Sequence[WebhookType] = ()
    loopback: bool = unsent(False)

    def __post_init__(self) -> None:
        if self.webhook_id:
            checked_id(self.webhook_id)
        check_webhook_url(self.url, loopback=True)
        _check_types(self.types)

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        check_webhook_url(self.url, loopback=self.loopback)
        item = stored.get(keys.webhooks(act.workspace_id))
        known: Mapping[str, Any] = (item or {}).get("webhooks", {})
        if before := known.get(self._id(act)):
            same = (before["url"], before["types"]) == (self.url, sorted(set(self.types)))
            if same and (act.is_event or _is_ours(act, before)):
                return []  # the answer was lost
            raise Refused(f"there is a webhook {self.webhook_id} already; update it, or rotate its secret")
        if len(known) >= MOST:
            raise Refused(f"a workspace has at most {MOST} webhooks; delete one first")
        webhook = {
            "url": self.url,
            "types": sorted(set(self.types)),
            "off": None,
            "failing_since": None,
            "failed_at": None,
            "created_at": rfc3339(act.happened),
            "secrets": [{"id": _secret_id(act), "ends_at": None}],
            "field_times": field_times(act, None, ("url", "types", "off")),
        }
        return [_changed(act, item, self._id(act), webhook)]

    def answer(self, act: Act, decided: Decided) -> Webhook:
        return _after(act, decided, self._id(act))

    def _id(self, act: Act) -> str:
        return self.webhook_id or act.new_id("webhook")


@dataclass(frozen=True, kw_only=True)
class UpdateWebhook(WebhookDeed[Webhook]):
    """A webhook has another URL or other types, or is switched off or on; what is left out stays.

    Switched on again it begins without failures. Any order of events ends in the same webhook.
    """

    webhook_id: Id
    url: WebhookUrl | Unsaid = UNSAID
    types: Sequence[WebhookType] | Unsaid = UNSAID
    enabled: bool | Unsaid = UNSAID
    loopback: bool = unsent(False)

    def __post_init__(self) -> None:
        if isinstance(self.url, str):
            check_webhook_url(self.url, loopback=True)
        if not isinstance(self.types, Unsaid):
            _check_types(self.types)

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        if isinstance(self.url, str):
            check_webhook_url(self.url, loopback=self.loopback)
        item, webhook = self.known(act, stored, self.webhook_id)
        types = self.types if isinstance(self.types, Unsaid) else sorted(set(self.types))
        off = self.enabled if isinstance(self.enabled, Unsaid) else None if self.enabled else "asked"
        later = newer(act, webhook, said(url=self.url, types=types, off=off))
        if all(webhook[name] == value for name, value in later.items()) and not act.is_event:
            return []
        fresh = {"failing_since": None, "failed_at": None} if later.keys() & {"url", "off"} else {}
        times = {"field_times": field_times(act, webhook, later)}
        return [_changed(act, item, self.webhook_id, {**webhook, **later, **fresh, **times})] if later else []

    def answer(self, act: Act, decided: Decided) -> Webhook:
        return _after(act, decided, self.webhook_id)


@dataclass(frozen=True, kw_only=True)
class RotateWebhookSecret(Signing):
    """A webhook has a new secret; the old one signs beside it for some hours, so that the receiver can change over."""

    webhook_id: Id
    overlap_hours: OverlapHours = OVERLAP_HOURS

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_hours <= LONGEST_OVERLAP:
            raise Rejected("invalid_schema", f"the old secret signs for 0 to {LONGEST_OVERLAP} hours more")

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        item, webhook = self.known(act, stored, self.webhook_id)
        if _is_ours(act, webhook):
            return []  # the answer was lost
        ends_at = rfc3339(act.now + timedelta(hours=self.overlap_hours))
        valid = secret_ids(item, self.webhook_id, act.now) if self.overlap_hours else []
        old = [one | {"ends_at": one["ends_at"] or ends_at} for one in webhook["secrets"] if one["id"] in valid]
        if len(old) >= SECRETS:
            raise Refused(f"{SECRETS} secrets of webhook {self.webhook_id} are valid; rotate again when one has ended")
        secrets = [{"id": _secret_id(act), "ends_at": None}, *old]
        return [_changed(act, item, self.webhook_id, {**webhook, "secrets": secrets})]

    def answer(self, act: Act, decided: Decided) -> Webhook:
        return _after(act, decided, self.webhook_id)


@dataclass(frozen=True, kw_only=True)
class DeleteWebhook(WebhookDeed[None]):
    """Nothing is posted to a webhook any more, and its secrets are over."""

    webhook_id: Id

    def decide(self, act: Act, stored: Stored) -> list[Write]:
        self.require(act)
        item = stored.get(keys.webhooks(act.workspace_id))
        if item is None or self.webhook_id not in item["webhooks"]:
            return []
        return [_changed(act, item, self.webhook_id, None)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """A webhook that nothing is sent to any more, because its receiver failed. `id` is the same at each delivery."""

    id: str
    workspace_id: str
    webhook_id: str
    reason: str
    failing_since: str | None


def switched_off(old: Item | None, new: Item | None) -> list[SwitchedOff]:
    """What a change of the record switched off by itself."""
    before = {one.id: one.off for one in webhooks_of(old)}
    return [
        SwitchedOff(
            id=f"{one.workspace_id}:{one.id}:{(new or {})['version']}:{WEBHOOK_DISABLED}",
            workspace_id=one.workspace_id,
            webhook_id=one.id,
            reason=str(one.off),
            failing_since=one.failing_since,
        )
        for one in webhooks_of(new)
        if one.off in {FAILING, GONE} and before.get(one.id) != one.off
    ]


def after_delivery(act: Act, item: Item, webhook: Webhook, *, delivered: bool, gone: bool = False) -> list[Write]:
    """What an attempt changes in the record: since when it fails, about when it last did (to an hour), and that it is
    off when it fails for too long, without a pause in which nothing was tried."""
    stored = item["webhooks"][webhook.id]
    since, last = webhook.failing_since, stored.get("failed_at") or webhook.failing_since
    if delivered:
        since = last = None
    elif since is None or last is None or act.now - parse_rfc3339(last) > PAUSE + _NOTED:
        since = last = rfc3339(act.now)
    elif act.now - parse_rfc3339(last) >= _NOTED:
        last = rfc3339(act.now)
    over = since is not None and act.now - parse_rfc3339(since) >= PATIENCE
    changed = {"failing_since": since, "failed_at": last, "off": GONE if gone else FAILING if over else None}
    if all(stored.get(name) == value for name, value in changed.items()):
        return []
    return [_changed(act, item, webhook.id, {**stored, **changed})]


def _changed(act: Act, item: Item | None, webhook_id: str, webhook: Mapping[str, Any] | None) -> Put:
    others = {name: one for name, one in (item or {}).get("webhooks", {}).items() if name != webhook_id}
    all_of_them = {**others, **({webhook_id: webhook} if webhook else {})}
    return record(act, keys.webhooks(act.workspace_id), KIND, item, webhooks=all_of_them)


def _secret_id(act: Act) -> str:
    return act.new_id("webhook secret")


def _is_ours(act: Act, webhook: Mapping[str, Any]) -> bool:
    """Whether this act made its newest secret, maybe at an earlier try: who did not is not shown it."""
    return bool(webhook["secrets"][0]["id"][-_CHANCE:] == _secret_id(act)[-_CHANCE:])


def _after(act: Act, decided: Decided, webhook_id: str) -> Webhook:
    item = decided.after(keys.webhooks(act.workspace_id))
    return next(one for one in webhooks_of(item) if one.id == webhook_id)


def _webhook(workspace_id: str, webhook_id: str, stored: Mapping[str, Any]) -> Webhook:
    current, *older = stored["secrets"]
    return Webhook(
        id=webhook_id,
        workspace_id=workspace_id,
        url=stored["url"],
        types=tuple(stored["types"]),
        off=stored["off"],
        failing_since=stored["failing_since"],
        created_at=stored["created_at"],
        secret_id=current["id"],
        rotating_until=max((one["ends_at"] for one in older), default=None),
    )


def _check_types(types: Sequence[str]) -> None:
    if unknown := sorted(set(types) - set(WEBHOOK_TYPES)):
        raise Rejected("invalid_schema", f"{unknown[0][:80]!r} is none of {', '.join(WEBHOOK_TYPES)}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True

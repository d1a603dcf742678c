"""A notification as an e-mail, and how far it is on its way: sent at most once.

    wanted ──▶ claimed ──▶ sent
       ▲          ├──▶ SES refuses it ──▶ wanted
       │          └──▶ nobody knows what SES did ──▶ uncertain: never sent again
       └── address not known: nothing is claimed

SES knows no key of ours, so a second request is a second mail. Therefore the claim is stored first. No address is
stored: it is asked for at each attempt and forgotten.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nilometer.domain.acts.act import Act
from nilometer.domain.acts.records import put
from nilometer.domain.store import keys
from nilometer.domain.store.times import parse_rfc3339, rfc3339
from nilometer.domain.store.writes import Item, Put
from nilometer.errors import Rejected

CLAIM = timedelta(minutes=2)
"""For so long another attempt may be at work: more than the function has. After it nobody knows whether a mail went."""

HEADER_LENGTH = 995
"""Characters of a header that SES takes. Source: Amazon SES API v2, MessageHeader."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}\Z")
_ONE_CLICK = "List-Unsubscribe=One-Click"
_PAGE = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?([/?][!-;=?-~]{0,1900})?\Z")


class MailState(StrEnum):
    """How far the e-mail of a notification is."""

    WANTED = "wanted"
    CLAIMED = "claimed"
    UNCERTAIN = "uncertain"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Where a person reads mail, and the page on which he says that he wants none. Never stored, never logged."""

    address: str
    unsubscribe: str | None = None

    def __post_init__(self) -> None:
        if len(self.address) > 254 or not _ADDRESS.match(self.address):
            raise Rejected("unusable_address", "the answer has no address of ASCII characters that a mail can go to")
        if self.unsubscribe is not None and not _PAGE.match(self.unsubscribe):
            raise Rejected("unusable_address", "`unsubscribe` is an https:// address")

    def __repr__(self) -> str:
        return "Recipient(...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What is said, as plain text and as HTML. `headers` are ASCII."""

    subject: str
    text: str
    html: str
    headers: tuple[tuple[str, str], ...] = ()


def mail_of(item: Item, *, links: str, unsubscribe: str | None) -> Mail:
    """Of a notification. A path goes below `links`; without that it is left out. All of it is escaped.

    A link to unsubscribe that is too long for a header stands in the text alone.
    Source of the headers: RFC 8058, which the large mailboxes ask for.
    """
    parts = [str(item["text"] or "")]
    shown = [f"<p>{_escaped(part)}</p>" for part in parts if part]
    if link := _absolute(item["link"], links):
        parts.append(link)
        shown.append(f'<p><a href="{html.escape(link)}">{html.escape(link)}</a></p>')
    headers: tuple[tuple[str, str], ...] = (("Auto-Submitted", "auto-generated"),)
    if unsubscribe:
        parts.append(f"Unsubscribe: {unsubscribe}")
        shown.append(f'<p><a href="{html.escape(unsubscribe)}">Unsubscribe</a></p>')
        if len(unsubscribe) + len("<>") <= HEADER_LENGTH:
            headers += (("List-Unsubscribe", f"<{unsubscribe}>"), ("List-Unsubscribe-Post", _ONE_CLICK))
    title = str(item["title"])
    return Mail(
        subject=title,
        text="\n\n".join(part for part in (title, *parts) if part) + "\n",
        html=f"<!doctype html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{''.join(shown)}",
        headers=headers,
    )


def mail_state(item: Item, now: datetime) -> MailState:
    """Of a notification, as it is stored."""
    if item.get("mailed_at"):
        return MailState.SENT
    claimed_at = item.get("mail_claimed_at")
    if not claimed_at:
        return MailState.WANTED
    return MailState.CLAIMED if now < parse_rfc3339(claimed_at) + CLAIM else MailState.UNCERTAIN


def claimed(act: Act, item: Item) -> Put:
    """Before it is handed to SES: who finds the claim sends nothing. Fails when the notification has changed."""
    return _changed(act, item, claimed_at=rfc3339(act.now))


def released(act: Act, item: Item) -> Put:
    """SES said that it did not take it: another attempt may send it."""
    return _changed(act, item, claimed_at=None)


def mailed(act: Act, item: Item) -> Put:
    """SES said that it took it."""
    return _changed(act, item, claimed_at=item.get("mail_claimed_at"), mailed_at=rfc3339(act.now))


def _changed(act: Act, item: Item, *, claimed_at: str | None, mailed_at: str | None = None) -> Put:
    key = keys.notification(item["user_id"], item["notification_id"])
    return put(act, key, "notification", item, {**item, "mail_claimed_at": claimed_at, "mailed_at": mailed_at})


def _absolute(link: str | None, links: str) -> str:
    if not link or link.startswith("https://"):
        return link or ""
    return f"{links.rstrip('/')}{link}" if links else ""


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")

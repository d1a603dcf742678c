"""The customer's page: what a short-lived session opens, and what it does not."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from tests.support.stack.visit import Visit


def test_a_session_opens_its_own_workspace(visit: Visit, customers: Any) -> None:
    """Usage and plan of that workspace, by the role of the member; no cookie of the console is needed."""
    seen = visit.send("GET", f"/portal?token={customers('oasis', 'ann')}", None)
    narrow = visit.send("GET", f"/portal?token={customers('oasis', 'vic')}", None)

    assert seen.status == 200
    assert re.search(r"<b>7</b> calls", seen.text)
    assert "Renews" in seen.text
    assert "Renews" not in narrow.text
    assert "nav" not in seen.text
    assert not re.search(r"<b>7</b> calls", visit.get(f"/portal?token={customers('delta', 'ann')}").text)


@pytest.mark.parametrize("kind", ["expired", "revoked", "forged", "empty"])
def test_a_token_that_is_not_valid_opens_nothing(visit: Visit, customers: Any, ask: Any, kind: str) -> None:
    """All in the same words, so that nobody learns which it was."""
    token = {
        "expired": lambda: customers("oasis", "ann", ago=timedelta(minutes=11)),
        "revoked": lambda: customers("delta", "vic"),
        "forged": lambda: "nil_session_" + "A" * 43,
        "empty": lambda: "",
    }[kind]()
    if kind == "revoked":
        assert ask("member", "remove", "delta", "vic", "--yes").code == 0

    answer = visit.get(f"/portal?token={token}")

    assert answer.status == 403
    assert answer.text == visit.get("/portal?token=nonsense").text
    assert "api_calls" not in answer.text


def test_only_the_embedders_may_frame_it(visit: Visit, customers: Any) -> None:
    """The console's own pages may not be framed at all; the address with the token is sent to no other page."""
    headers = visit.get(f"/portal?token={customers('oasis', 'ann')}").headers

    assert headers["content-security-policy"].endswith("frame-ancestors 'self'")
    assert "x-frame-options" not in headers
    assert headers["referrer-policy"] == "no-referrer"
    assert visit.get("/").headers["content-security-policy"].endswith("frame-ancestors 'none'")


def test_a_session_opens_no_page_of_the_console_for_others(visit: Visit, customers: Any) -> None:
    """The parameter means nothing elsewhere, and parameters choose no other workspace here."""
    token = customers("delta", "ann")

    assert "oasis" not in visit.get(f"/portal?token={token}&workspace=oasis&workspace_id=oasis").text

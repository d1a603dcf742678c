"""Rules match the same with and without what is remembered of source and type."""

from __future__ import annotations

import json
import subprocess
import sys

COMPARED = """
import itertools, json
from ministack.services import eventbridge
from nilometer.local.patches import rules

patterns = [
    {"source": ["a"]},
    {"detail-type": [{"prefix": "usage."}]},
    {"source": ["a", "b"], "detail-type": [{"anything-but": ["x"]}]},
    {"source": [{"exists": False}]},
    {"source": ["a"], "detail": {"kind": ["k"]}},
    {"detail": {"kind": ["k"]}},
    {"source": ["a"], "account": ["000000000000"], "detail": {"kind": [{"exists": False}]}},
    {"source": ["b"], "$or": [{"detail-type": ["x"]}, {"detail": {"kind": ["k"]}}]},
    {"nonesuch": [{"exists": False}]},
]
events = [
    {"Source": source, "DetailType": kind, "Detail": detail, "Account": "000000000000", "Time": 1}
    for source, kind, detail in itertools.product(
        ["a", "b", "", ["a"]], ["x", "usage.y", ""], ['{"kind": "k"}', '{"kind": "l"}', "{}", "no json"]
    )
]
asked = [(json.dumps(p), e) for _ in range(2) for p in patterns for e in events]
before = [eventbridge._matches_pattern(*one) for one in asked]
rules.use()
after = [eventbridge._matches_pattern(*one) for one in asked]
print(json.dumps([before == after, sum(before), len(before)]))
"""


def test_a_rule_matches_as_before() -> None:
    """Every pattern asks every event, twice: the second time from memory."""
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True, check=True)

    same, matched, asked = json.loads(done.stdout.splitlines()[-1])
    assert same
    assert 0 < matched < asked


KEPT = """
from ministack.services import eventbridge
from nilometer.local.patches import rules

rules.use()
entry = {"Source": "a", "DetailType": "x", "Detail": "{}"}
eventbridge._ensure_default_bus()
status, _, body = eventbridge._put_events({"Entries": [entry]})
print(status, body.decode().count("EventId"), len(eventbridge._events_log._data))
"""


def test_a_delivered_event_is_not_kept() -> None:
    """The engine runs for weeks."""
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["200", "1", "0"]

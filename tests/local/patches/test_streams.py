"""Pages of a stream are cut where MiniStack cuts them."""

from __future__ import annotations

import json
import subprocess
import sys

COMPARED = r"""
import json
from ministack.services import dynamodb_streams
from nilometer.local.patches import quick_json, streams

quick_json.use(dynamodb_streams)  # as the engine runs
sizes = [0, 1, 400_000, 524_250, 524_280, 524_288, 700_000, 1_048_576, 2_000_000]
pages = [[{"image": "x" * size, "number": str(number)} for number in range(4)] for size in sizes]
pages += [[], [{"image": "\u00e9" * 300_000}] * 4, [{"image": "\ud800" + "x" * 400_000}] * 4]
before = [len(dynamodb_streams._cap_page_bytes(page)) for page in pages]
streams.use()
after = [len(dynamodb_streams._cap_page_bytes(page)) for page in pages]
print(json.dumps([before, after]))
"""


def test_a_page_is_cut_as_before() -> None:
    """Also around a megabyte, and of texts that are no UTF-8."""
    done = subprocess.run([sys.executable, "-c", COMPARED], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)

    assert after == before
    assert {1, 2, 4} <= set(before)

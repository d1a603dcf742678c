"""Products and prices as a billing record knows them, with limits that are right, odd and unreadable."""

from __future__ import annotations

from typing import Any

SCOPE = "self/test"
CATALOG: dict[str, Any] = {
    f"{SCOPE}/product/plan": {"version": 1, "name": "P", "metadata": {"plan": "papyrus", "limit_calls": "1000"}},
    f"{SCOPE}/product/add_on": {
        "version": 1,
        "metadata": {"addon": "yes", "limit_calls": '{"hard": 7, "grace": "1d"}'},
    },
    f"{SCOPE}/price/seat": {
        "version": 1,
        "metadata": {"seats": "1", "limit_exports": '{"included": 2, "per_seat": true, "overage": "block"}'},
    },
    f"{SCOPE}/price/odd": {"version": 1, "metadata": {"limit_calls": "many", "limit_exports": '{"overage": "allow"}'}},
}

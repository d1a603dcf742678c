"""A lease: a block of a hard limit that one process holds and gives out by itself.

    block ──▶ given out ──▶ reported by one usage event, which settles the block: what was not given out comes back
      └────▶ returned       nothing of it was given out

A block has no end of its own: no clock can give it to somebody else while its holder still gives out. When a holder
dies, what it held stays taken until the period ends or an operator releases it, so the limit is never oversold; a block
is small, so little is lost.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

SECONDS = 20  # of use at the present rate that a block is good for
SHARE = 8  # a block is at most this part of what is left: others find some, and it gets finer near the end
_WHOLE = Decimal(1)


def block_size(wanted: Decimal, *, rate: Decimal, remaining: Decimal) -> Decimal:
    """How much to hold, for `rate` units a second when `remaining` is left; at least what is `wanted` now."""
    size = min(rate * SECONDS, remaining / SHARE).quantize(_WHOLE, rounding=ROUND_DOWN)
    return max(wanted, size)

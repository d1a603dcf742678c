"""Usage events into facts and counters."""

"""Usage events, meters, counters, periods and voids."""

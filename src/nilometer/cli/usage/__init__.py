"""Commands about usage, meters and limits."""

"""Exactly-once append and merge, and maintenance."""

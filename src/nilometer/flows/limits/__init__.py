"""Thresholds, overrides and reservations."""

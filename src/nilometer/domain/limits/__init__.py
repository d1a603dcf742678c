"""Limits by plan and by override, and reservations against them."""

"""Notifications: who hears of what, and who wants to."""

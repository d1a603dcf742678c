"""Processes that run function handlers."""

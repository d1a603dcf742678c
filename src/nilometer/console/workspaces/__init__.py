"""Workspaces: the list, and one with all that is known of it."""

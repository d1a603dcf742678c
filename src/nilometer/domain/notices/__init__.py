"""Notifications and preferences of people."""

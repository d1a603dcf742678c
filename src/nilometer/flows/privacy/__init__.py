"""Erasing a person from tables, bucket and lake."""

"""Rows of the lake: changes, facts, datasets, redaction and tables."""

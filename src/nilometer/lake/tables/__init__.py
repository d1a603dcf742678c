"""Schemas, columns and storage of the Delta tables."""

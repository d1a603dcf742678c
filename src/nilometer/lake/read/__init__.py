"""Queries, recipes and reports over the Delta tables."""

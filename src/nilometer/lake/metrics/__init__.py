"""Metrics of subscription businesses over the books, as SQL that engines have in common."""

"""Functions of MiniStack that are replaced by ones with the same answers and less CPU, or with more for our pollers."""

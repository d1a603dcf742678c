"""Who acts, with which role, and what every record keeps of it."""

"""Money: revenue and what it is made of."""

"""Commands of what is told to others."""

"""What every page shares: who looks, what is refused, how it is rendered."""

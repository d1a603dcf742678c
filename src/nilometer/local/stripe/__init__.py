"""A Stripe of our own: a deterministic world with a history, sample events, and the HTTP API over it."""

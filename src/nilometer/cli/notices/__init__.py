"""Commands of notices to others: webhooks."""

"""Commands about billing and Stripe."""

"""The billing record of a workspace: what its customers' Stripe objects add up to."""

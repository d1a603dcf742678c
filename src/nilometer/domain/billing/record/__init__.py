"""The billing record of a workspace: what it is folded from, the fold, its item, and what its changes are called."""

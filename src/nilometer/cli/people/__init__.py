"""Commands about workspaces, members and all that belongs to them."""

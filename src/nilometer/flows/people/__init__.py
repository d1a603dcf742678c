"""The library of workspaces, members, invitations, policies, flags and access."""

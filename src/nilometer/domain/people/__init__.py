"""Workspaces, members, invitations, policies, flags, onboarding and attachments."""

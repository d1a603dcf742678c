"""The local AWS engine: process, deployment, discovery and counted requests."""

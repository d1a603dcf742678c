"""One machine runs the whole stack from template.yaml."""

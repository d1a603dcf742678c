"""What an assistant may ask of a stack."""

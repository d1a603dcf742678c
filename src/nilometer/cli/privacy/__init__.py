"""Commands that erase a person."""

"""Tokens, sessions and lock-outs: who gets in."""

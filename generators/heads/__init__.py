"""Heads: the law of a token, given what the backbone says at its position."""

"""Tokens as vectors that a transformer takes."""

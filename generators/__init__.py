"""Generators over the tokens of codecs."""

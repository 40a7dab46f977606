"""Samplers: how a generator's tokens are drawn."""
